"""An encoder without weights: a signed, hashed bag of words."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from retrieval_index.errors import ArgumentError, EncoderError, check_positive

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_WORD = re.compile(r"\w+")


class HashingEncoder:
    """Adds +1 or -1 at one hashed place for each word; deterministic on every machine.

    It knows nothing of meaning: texts are close when they share words. For tests, and for machines
    without weights.

    Args:
        dimension: Length of a vector. Default 256.
        seed: Chooses the hash function, 0 to 2**32 - 1. Default 0.
    """

    max_tokens: int | None = None

    def __init__(self, dimension: int = 256, seed: int = 0) -> None:
        self.dimension = check_positive("dimension", dimension)
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
            raise ArgumentError(f"`seed` must be an int in [0, 2**32); received: {seed!r}.")
        self.seed = seed

    @classmethod
    def from_name(cls, name: str) -> HashingEncoder:
        """Returns the encoder that "<dimension>:<seed>" names; missing parts are defaults."""
        parts = name.split(":") if name else []
        if len(parts) > 2 or not all(part.isdecimal() for part in parts):
            raise EncoderError(
                "`encoder` must be written 'hashing', 'hashing:<dimension>' or "
                f"'hashing:<dimension>:<seed>'; received: 'hashing:{name}'."
            )
        return cls(*map(int, parts))

    @property
    def name(self) -> str:
        """The name that gives this encoder again."""
        return f"hashing:{self.dimension}:{self.seed}"

    @property
    def fingerprint(self) -> str:
        """The scheme and its parameters; there are no weights."""
        return f"hashing-v1:{self.dimension}:{self.seed}"

    def encode(self, texts: list[str], /) -> npt.NDArray[np.float32]:
        """Returns word counts with hashed signs, float32 of shape (len(texts), dimension)."""
        import numpy as np

        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in _WORD.findall(text.casefold()):
                number = _word_hash(word, self.seed)
                vectors[row, (number >> 1) % self.dimension] += 1.0 if number & 1 else -1.0
        return vectors


@lru_cache(maxsize=65_536)
def _word_hash(word: str, seed: int) -> int:
    # A surrogate can stand in a query typed on a broken terminal; it hashes like any character.
    data = word.encode("utf-8", "surrogatepass")
    return int.from_bytes(
        hashlib.blake2b(data, digest_size=8, key=seed.to_bytes(4, "big")).digest(), "big"
    )
