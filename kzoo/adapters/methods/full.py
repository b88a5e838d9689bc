"""Training whole sublayers beside an adapter: HF PEFT's `modules_to_save`."""

from __future__ import annotations

from collections.abc import Sequence

from kzoo.adapters.config import register_method
from kzoo.adapters.targets import TargetedConfig, is_embedding
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError


@register_method("full")
class FullConfig(TargetedConfig):
    """Trains a copy of whole projections or embedding tables, in place of the model's own.

    The copies start as the model's values, so that an untrained adapter is an exact identity.
    Meant for a few sublayers beside another method: `lora[r=8]|full[targets=[pooler]]`.

    Args:
        targets: Sites, names or keys of projections or embeddings.
    """

    layer = "kzoo.adapters.layers.full:FullLayer"
    embeddings = True

    def choose(self, places: Sequence[Place]) -> list[Place]:
        """As for every method.

        Raises:
            AdapterError: Also for a table that computes logits too: both ends would differ.
        """
        chosen = super().choose(places)
        for place in chosen:
            if is_embedding(place) and getattr(place.layer, "tie_weights", False):
                raise AdapterError(
                    f"`full` at {place.key}: the table is also the output layer. "
                    "Use `tokens` for some of its rows."
                )
        return chosen

    def count_at(self, place: Place) -> int:
        """in out, and the bias."""
        return (place.size_in + place.bias) * place.size_out
