"""What an encoder is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into vectors.

    An encoder may also have:

    - `token_offsets(texts: list[str]) -> list[list[tuple[int, int]]]`: the character spans of its
      tokens, special tokens left out and nothing truncated. Chunk sizes then count its tokens.
    - `encode_queries(texts: list[str])`: like `encode`, for models that treat queries otherwise
      than passages. Without it, `encode` does both.
    - `encode_documents(ids: list[str], texts: list[str])`: like `encode`, for vectors that are
      found by document id (`PrecomputedVectors`). Where it exists it is called instead of `encode`
      for everything that goes into an index, and each document is one passage: the chunking
      method is "none".
    - `as_index_encoder()`: the encoder itself under a `name` that finds it again, where its own
      `name` means something else.
    """

    @property
    def name(self) -> str:
        """ "<provider>:<name>", through which `resolve_encoder` finds the encoder again."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever the vectors would change; a hash of the weights, for instance."""
        ...

    @property
    def max_tokens(self) -> int | None:
        """Tokens read of a text, special tokens included; None when there is no limit."""
        ...

    def encode(self, texts: list[str], /) -> npt.NDArray[np.float32]:
        """Returns float32 vectors of shape (len(texts), dimension), in the order of the texts."""
        ...
