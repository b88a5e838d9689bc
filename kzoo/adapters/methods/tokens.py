"""Training the embeddings of a few tokens, as HF PEFT's trainable tokens do."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, field_validator

from kzoo.adapters.config import AdapterConfig, register_method
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError


@register_method("tokens")
class TrainableTokensConfig(AdapterConfig):
    """Replacement rows of the embedding table for some token ids; all others stay as they are.

    The rows start as copies, so that an untrained adapter is an exact identity. Where the table is
    also the output layer of a language model (tied weights), its logits use the new rows too.

    Args:
        indices: The token ids, each once.
    """

    layer = "kzoo.adapters.layers.tokens:TrainableTokensLayer"

    indices: tuple[int, ...] = Field(min_length=1)

    @field_validator("indices")
    @classmethod
    def _different(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) != len(value) or min(value) < 0:
            raise ValueError("must be token ids, each once")
        return value

    @property
    def sites(self) -> tuple[str, ...]:
        """The token embedding."""
        return ("token_embedding",)

    def choose(self, places: Sequence[Place]) -> list[Place]:
        """See `AdapterConfig.choose`; ids beyond the table are refused."""
        chosen = super().choose(places)
        for place in chosen:
            if max(self.indices) >= place.size_in:
                raise AdapterError(
                    f"`indices` must be below the vocabulary size, {place.size_in}. "
                    f"Received: {max(self.indices)}"
                )
        return chosen

    def count_at(self, place: Place) -> int:
        """n H."""
        return len(self.indices) * place.size_out
