"""How `retrieval_index` finds a zoo encoder by name, through its entry point `kzoo`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def load_encoder(name: str) -> NamedEncoder:
    """Loads a zoo entry that makes sentence vectors.

    Args:
        name: Zoo name such as `minilm-encoder`, or a path to a saved `.keras` encoder.

    Raises:
        kzoo.errors.KzooError: Not known, or not an encoder.
    """
    import kzoo
    from kzoo.errors import RecipeError
    from kzoo.retrieval.text_encoder import TextEncoder

    model = kzoo.load(name)
    if not isinstance(model, TextEncoder):
        raise RecipeError(
            f"`{name}` is a {type(model).__name__} and makes no sentence vectors. "
            "Try `minilm-encoder`."
        )
    return model.as_index_encoder(name)


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
