"""LoRA (Hu et al. 2021, arXiv:2106.09685)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from kzoo.adapters.config import AdapterConfig, register_method
from kzoo.backbones.places import Place


@register_method("lora")
class LoraConfig(AdapterConfig):
    """Low-rank update of a projection: y = W x + (alpha / r) B A x.

    A has shape (in, r) and B (r, out) on the *flattened* projection, as in the paper and in HF
    PEFT; heads are not factorised separately. B starts at zero, so that an untrained adapter is
    an exact identity.

    Args:
        r: Rank.
        alpha: The update is scaled by alpha / r. Default 8, PEFT's.
        targets: Projections that get an update.
        dropout: Share of inputs of A dropped in training.
    """

    layer = "kzoo.adapters.layers.lora:LoraLayer"

    r: PositiveInt = 8
    alpha: PositiveFloat = 8.0
    targets: tuple[str, ...] = ("query", "value")
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @field_validator("targets")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError("must name at least one projection, each once")
        return value

    @property
    def sites(self) -> tuple[str, ...]:
        """The targets."""
        return self.targets

    @property
    def scaling(self) -> float:
        """alpha / r."""
        return self.alpha / self.r

    def count_at(self, place: Place) -> int:
        """r (in + out)."""
        return self.r * (place.size_in + place.size_out)
