"""Training the embeddings of a few tokens, as HF PEFT's trainable tokens do."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, field_validator

from kzoo.adapters.config import AdapterConfig, register_method
from kzoo.adapters.targets import is_embedding
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError


@register_method("tokens")
class TrainableTokensConfig(AdapterConfig):
    """Replacement rows of the embedding table for some token ids; all others stay as they are.

    The rows start as copies, so that an untrained adapter is an exact identity. Where the table is
    also the output layer of a language model (tied weights), its logits use the new rows too.

    Args:
        indices: The token ids, each once.
        targets: The embedding; in a model that is no backbone the key of one.
    """

    layer = "kzoo.adapters.layers.tokens:TrainableTokensLayer"
    example = "indices=[5, 6]"

    indices: tuple[int, ...] = Field(min_length=1)
    targets: tuple[str, ...] = ("token_embedding",)

    @field_validator("indices")
    @classmethod
    def _different(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) != len(value) or min(value) < 0:
            raise ValueError("must be token ids, each once")
        return value

    @property
    def sites(self) -> tuple[str, ...]:
        """The token embedding."""
        return self.targets

    def choose(self, places: Sequence[Place]) -> list[Place]:
        """See `AdapterConfig.choose`; ids beyond the table are refused, and other sublayers."""
        chosen = super().choose(places)
        for place in chosen:
            if not is_embedding(place):
                raise AdapterError(f"`targets` must be embeddings. Received: {place.key}")
            if max(self.indices) >= place.size_in:
                raise AdapterError(
                    f"`indices` must be below the vocabulary size, {place.size_in}. "
                    f"Received: {max(self.indices)}"
                )
        return chosen

    def count_at(self, place: Place) -> int:
        """n H."""
        return len(self.indices) * place.size_out
