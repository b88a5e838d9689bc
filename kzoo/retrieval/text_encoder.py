"""`kzoo.TextEncoder`: sentence vectors, an encoder for `retrieval_index`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import ClassVar

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.models.model import Model
from kzoo.retrieval.provider import NamedEncoder


@keras.saving.register_keras_serializable(package="kzoo")
class TextEncoder(Model):
    """Maps texts to float32 vectors (batch, dimension), of length 1 where the recipe says so.

    Make one with `kzoo.load` or `TextEncoder.on(trunk)`.
    """

    head_kind: ClassVar[str] = "embed"

    @property
    def dimension(self) -> int:
        """Width of the vectors."""
        return self.head.units

    @property
    def max_tokens(self) -> int:
        """Longer texts are cut here, special tokens included."""
        return self.text.max_tokens  # type: ignore[union-attr]

    @property
    def fingerprint(self) -> str:
        """Changes when any weight, the tokenizer, the length or the pooling changes."""
        assert self.text is not None, "an encoder reads texts"
        digest = hashlib.sha256(self.text.fingerprint.encode())
        digest.update(f"{self.head.pooling}|{self.head.normalize}".encode())  # type: ignore[attr-defined]
        digest.update(f"{self.trunk.architecture!r}|{self.adapters.active}".encode())
        for variable in self.weights:
            digest.update(np.ascontiguousarray(np.asarray(variable)).data)
        return digest.hexdigest()

    def encode(
        self, texts: Sequence[str], batch_size: int = 32, progress: bool = False
    ) -> NDArray[np.float32]:
        """Encodes texts, similar lengths together; rows come back in the order given.

        Args:
            texts: n texts.
            batch_size: Rows a step.
            progress: Show Keras' progress bar.

        Returns:
            float32 (n, dimension); (0, dimension) for no texts.
        """
        if len(texts) == 0:
            return np.zeros((0, self.dimension), "float32")
        found = self.predict(list(texts), batch_size=batch_size, verbose=1 if progress else 0)
        return np.asarray(found, "float32")

    def as_index_encoder(self, name: str | None = None) -> NamedEncoder:
        """Itself under the name by which `retrieval_index` finds it again.

        Args:
            name: Zoo name or path. Default: the recipe's name.
        """
        recipe = self.recipe or {}
        return NamedEncoder(f"kzoo:{name or recipe.get('name') or self.name}", self)

    def token_offsets(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Character spans of each text's tokens, for chunking by tokens."""
        assert self.text is not None, "an encoder reads texts"
        return self.text.token_offsets(texts)
