"""An encoder that encodes no query twice."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class QueryMemory:
    """Another encoder, which is asked only for texts it was not asked for before.

    Args:
        encoder: From `retrieval_index.resolve_encoder`.
    """

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder
        self._known: dict[str, NDArray[np.float32]] = {}
        self.name = encoder.name
        self.fingerprint = encoder.fingerprint
        self.dimension = encoder.dimension
        self.max_tokens = encoder.max_tokens
        # Chunk sizes count tokens where the encoder tells them, and words otherwise.
        if hasattr(encoder, "token_offsets"):
            self.token_offsets = encoder.token_offsets

    def encode(self, texts: list[str], /) -> NDArray[np.float32]:
        """Passages: not remembered."""
        found: NDArray[np.float32] = self._encoder.encode(texts)
        return found

    def encode_queries(self, texts: list[str], /) -> NDArray[np.float32]:
        """Queries: remembered."""
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        if new:
            encode = getattr(self._encoder, "encode_queries", self._encoder.encode)
            self._known.update(zip(new, encode(new), strict=True))
        return np.stack([self._known[text] for text in texts])
