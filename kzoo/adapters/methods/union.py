"""Unions: several methods that act together under one name (He et al. 2022, arXiv:2110.04366).

Published ones: MAM (of the same paper) and UniPELT (Mao et al. 2022, arXiv:2110.07577).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import SerializeAsAny, field_validator

from kzoo.adapters.config import AdapterConfig, Building, parse_adapter, register_method
from kzoo.backbones.dims import Dims
from kzoo.backbones.places import Place


@register_method("union")
class UnionConfig(AdapterConfig):
    """Several methods under one name; where two stand at one place, the first is innermost.

    Written `"lora[r=8]|ia3"`, or as a list of configurations.

    Args:
        configs: The methods. Unions among them are unfolded.
    """

    listed = False  # stands for nothing without its methods

    configs: tuple[SerializeAsAny[AdapterConfig], ...] = ()

    @field_validator("configs", mode="before")
    @classmethod
    def _parsed(cls, value: Any) -> Any:
        if isinstance(value, (str, AdapterConfig)):
            value = [value]
        return tuple(part for spec in value for part in parse_adapter(spec).parts)

    def model_post_init(self, context: object) -> None:
        """Refuses what would be no union."""
        if len(self.configs) < 2:
            raise ValueError("`configs` must name at least two methods")
        if self.leave_out or self.exclude:
            raise ValueError("`leave_out` and `exclude` belong to the single methods of a union")

    @property
    def parts(self) -> tuple[AdapterConfig, ...]:
        """The methods."""
        return self.configs

    @property
    def sites(self) -> tuple[str, ...]:
        """Every site that one of the methods needs."""
        return tuple(dict.fromkeys(site for part in self.configs for site in part.sites))

    def count_parameters(self, dims: Dims) -> int:
        """The sum over the methods."""
        return sum(part.count_parameters(dims) for part in self.configs)

    def count_at(self, place: Place) -> int:
        """Not asked: each method counts its own places."""
        raise NotImplementedError

    def choose(self, places: Sequence[Place]) -> list[Place]:
        """The places of all methods, each once."""
        chosen = {place.key for part in self.configs for place in part.choose(places)}
        return [place for place in places if place.key in chosen]

    def make_layer(self, place: Place, building: Building) -> Any:
        """Not asked: each method makes its own layers."""
        raise NotImplementedError


# Mix-and-match, arXiv:2110.04366: a prefix in the attention, a scaled adapter beside the
# feed-forward part.
MAM = ("prefix[num_virtual_tokens=30,projection=true,bottleneck=800]", "par_bn")

# arXiv:2110.07577: a prefix, a bottleneck and a LoRA, each with a gate.
UNIPELT = (
    "gated_prefix[num_virtual_tokens=10,projection=true]",
    "seq_bn[use_gating=true]",
    "gated_lora[r=8]",
)

register_method("mam", configs=MAM)(UnionConfig)
register_method("unipelt", configs=UNIPELT)(UnionConfig)
