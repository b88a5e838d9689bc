"""The LoHa layer; formula in `kzoo.adapters.methods.loha`."""

from __future__ import annotations

from typing import Any

import keras

from kzoo.adapters.config import Building
from kzoo.adapters.layers.delta import uniform
from kzoo.adapters.layers.lycoris import LycorisLayer
from kzoo.adapters.methods.loha import LohaConfig
from kzoo.backbones.places import Place
from kzoo.seeds import derive_seed


class LohaLayer(LycorisLayer):
    """y = inner(x) + s x ((B1 A1) * (B2 A2)).

    Variables, each the transpose of PEFT's: `hada_w1_b` and `hada_w2_b` (in, r), `hada_w1_a` and
    `hada_w2_a` (r, out).
    """

    def __init__(self, config: LohaConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        size_in, size_out = self.projection.size_in, self.projection.size_out
        r = config.rank_at(place)
        self.scaling = config.scaling_at(place)

        def made(name: str, shape: tuple[int, int], fan_in: int) -> Any:
            seed = derive_seed(self.seed, name)
            return self.add_weight(shape, uniform(fan_in, seed) if fan_in else "zeros", name=name)

        self.hada_w1_a = made("hada_w1_a", (r, size_out), r)
        self.hada_w1_b = made("hada_w1_b", (size_in, r), size_in)
        self.hada_w2_a = made("hada_w2_a", (r, size_out), r)
        self.hada_w2_b = made("hada_w2_b", (size_in, r), 0)

    def delta(self) -> Any:
        """The scaled product of both matrices, (in, out)."""
        first = keras.ops.matmul(self.hada_w1_b, self.hada_w1_a)
        second = keras.ops.matmul(self.hada_w2_b * self.scaling, self.hada_w2_a)
        return first * second
