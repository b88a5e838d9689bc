"""`kzoo.TextEncoder`: sentence vectors, an encoder for `retrieval_index`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.models.base import Model
from kzoo.models.pooling import pooled
from kzoo.models.spec import ModelSpec
from kzoo.retrieval.named_encoder import NamedEncoder


@keras.saving.register_keras_serializable(package="kzoo")
class TextEncoder(Model):
    """Maps texts to float32 vectors (batch, dimension), of length 1 where the recipe says so.

    Args:
        trunk: Built backbone with tokenizer.
        spec: The model's data; `head.pooling` and `normalize` decide the vector.
        name: Keras name.
    """

    def make_outputs(self, backbone: Any, spec: ModelSpec) -> Any:
        """The pooled, normalised trunk."""
        x = pooled(backbone, spec.head.pooling)
        if spec.normalize:
            x = keras.layers.UnitNormalization(dtype="float32", name="normalize")(x)
        return x

    @property
    def dimension(self) -> int:
        """Width of the vectors."""
        return int(self.backbone.hidden_dim)

    @property
    def max_tokens(self) -> int:
        """Longer texts are cut here, special tokens included."""
        return self.spec.max_tokens

    @property
    def fingerprint(self) -> str:
        """Changes when any weight, the tokenizer, the length or the pooling changes."""
        digest = hashlib.sha256(self.text.fingerprint.encode())
        digest.update(f"{self.spec.head.pooling}|{self.spec.normalize}".encode())
        digest.update(f"{self.architecture!r}|{self.adapters.active}".encode())
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
        return NamedEncoder(f"kzoo:{name or self.spec.recipe}", self)

    def token_offsets(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Character spans of each text's tokens, for chunking by tokens."""
        return self.text.token_offsets(texts)
