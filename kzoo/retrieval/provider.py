"""How `retrieval_index` finds a zoo encoder by name, through its entry point `kzoo`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kzoo.retrieval.named_encoder import NamedEncoder


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
