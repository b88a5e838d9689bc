"""A zoo encoder under the name by which an index finds it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class NamedEncoder:
    """A zoo encoder under the name by which an index finds it again.

    Keras names a model `minilm_encoder`; an index has to remember `kzoo:minilm-encoder`.

    Args:
        name: `kzoo:<zoo name or path>`.
        model: The `kzoo.TextEncoder`.
    """

    def __init__(self, name: str, model: Any) -> None:
        self.name = name
        self.model = model
        self.dimension: int = model.dimension
        self.max_tokens: int = model.max_tokens
        self.fingerprint: str = model.fingerprint

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 (n, dimension), in the order of the texts."""
        return np.asarray(self.model.encode(texts), "float32")

    def token_offsets(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Character spans of each text's tokens."""
        found: list[list[tuple[int, int]]] = self.model.token_offsets(texts)
        return found
