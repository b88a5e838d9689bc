"""Prefix tuning (Li & Liang 2021, arXiv:2101.00190)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, PositiveInt, field_validator

from kzoo.adapters.config import AdapterConfig, register_method
from kzoo.backbones.places import Place

POSITIONS = "position_embedding"


@register_method("prefix")
class PrefixConfig(AdapterConfig):
    """P more keys and values in front of those of every attention: softmax(q [P_k; K]') [P_v; V].

    Flat, the keys and values are the variables. With `projection` they are made of one embedding
    by a two-layer network, P_kv = W_2 tanh(W_1 E + b_1) + b_2, whose second layer has its part at
    every place; the network is kept on saving, so that training can be resumed. The embedding is
    as wide as the keys.

    A prefix draws attention away from the real tokens, so that no values make an untrained one an
    exact identity.

    Args:
        num_virtual_tokens: P.
        projection: Reparameterise.
        bottleneck: Width between the two layers. Default 512, the width of the paper.
        targets: Which attention: `attention` (all), `cross_attention`, or keys of places.
        shift_positions: Whether the first real token has position P, as in HF PEFT (where the
            prefix is past keys and values), or 0, as in the paper and in AdapterHub. The input
            is then P tokens shorter at most. Refused where the model has no position embedding.
        init_std: Standard deviation of the initial keys, values and embedding rows.
    """

    layer = "kzoo.adapters.layers.prefix:PrefixLayer"
    shared_layer = "kzoo.adapters.layers.prefix:PrefixEncoder"

    num_virtual_tokens: PositiveInt = 20
    projection: bool = False
    bottleneck: PositiveInt = 512
    targets: tuple[str, ...] = ("attention",)
    shift_positions: bool = False
    init_std: Annotated[float, Field(ge=0)] = 0.02

    @field_validator("targets")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError("must name at least one attention, each once")
        if wrong := [target for target in value if not target.endswith("attention")]:
            raise ValueError(f"must name attention layers only, not {wrong[0]!r}")
        return value

    @property
    def sites(self) -> tuple[str, ...]:
        """The attention layers, and the position embedding where positions are shifted."""
        return (*self.targets, POSITIONS) if self.shift_positions else self.targets

    def layer_at(self, place: Place) -> str:
        """Another layer at the position embedding."""
        if place.site == POSITIONS:
            return "kzoo.adapters.layers.calls:ShiftedPositions"
        return self.layer

    def make_shared(self, places: Sequence[Place], name: str, seed: int) -> Any:
        """The first layer of the network, where there is one."""
        return super().make_shared(places, name, seed) if self.projection else None

    def width(self, places: Sequence[Place]) -> int:
        """Width of the embedding: that of the keys at the first place."""
        return next(place.size_out for place in places if place.site != POSITIONS)

    def count_at(self, place: Place) -> int:
        """2 P KV, or with the network 2 KV (b + 1)."""
        if place.site == POSITIONS:
            return 0
        rows = self.bottleneck + 1 if self.projection else self.num_virtual_tokens
        return 2 * rows * place.size_out

    def count_shared(self, places: Sequence[Place]) -> int:
        """With the network P KV + KV b + b."""
        if not self.projection:
            return 0
        width = self.width(places)
        return self.num_virtual_tokens * width + (width + 1) * self.bottleneck
