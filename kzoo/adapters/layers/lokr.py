"""The LoKr layer; formula in `kzoo.adapters.methods.lokr`."""

from __future__ import annotations

from typing import Any

import keras

from kzoo.adapters.config import Building
from kzoo.adapters.layers.delta import uniform
from kzoo.adapters.layers.lycoris import LycorisLayer
from kzoo.adapters.methods.lokr import LokrConfig
from kzoo.backbones.places import Place
from kzoo.seeds import derive_seed


class LokrLayer(LycorisLayer):
    """y = inner(x) + s x kron(C1, C2), never forming the product.

    Variables, each the transpose of PEFT's: `lokr_w1` (in1, out1) or its factors `lokr_w1_b`
    (in1, r) and `lokr_w1_a` (r, out1); the same for `lokr_w2`.
    """

    def __init__(self, config: LokrConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        self.scaling = config.scaling_at(place)
        self.sides = config.sides(place)
        r = config.rank_at(place)
        first, second = config.whole(place)
        peft = config.init == "peft"
        self.lokr_w1 = self.lokr_w1_a = self.lokr_w1_b = None
        self.lokr_w2 = self.lokr_w2_a = self.lokr_w2_b = None
        (in_1, out_1), (in_2, out_2) = self.sides
        # The fan-in of torch's initializer is the last axis of its tensor, our first one.
        if first:
            self.lokr_w1 = self._made("lokr_w1", in_1, out_1, zero=peft)
        else:
            self.lokr_w1_a = self._made("lokr_w1_a", r, out_1, zero=peft)
            self.lokr_w1_b = self._made("lokr_w1_b", in_1, r)
        if second:
            self.lokr_w2 = self._made("lokr_w2", in_2, out_2, zero=not peft)
        else:
            self.lokr_w2_a = self._made("lokr_w2_a", r, out_2)
            self.lokr_w2_b = self._made("lokr_w2_b", in_2, r, zero=not peft)

    def _made(self, name: str, rows: int, columns: int, zero: bool = False) -> Any:
        initializer = "zeros" if zero else uniform(rows, derive_seed(self.seed, name))
        return self.add_weight((rows, columns), initializer, name=name)

    def factors(self) -> tuple[Any, Any]:
        """C1 (in1, out1) and C2 (in2, out2)."""
        first, second = self.lokr_w1, self.lokr_w2
        if first is None:
            first = keras.ops.matmul(self.lokr_w1_b, self.lokr_w1_a)
        if second is None:
            second = keras.ops.matmul(self.lokr_w2_b, self.lokr_w2_a)
        return first, second

    def delta(self) -> Any:
        """The scaled Kronecker product, (in, out)."""
        first, second = self.factors()
        return keras.ops.kron(first * self.scaling, second)

    def product(self, flat: Any) -> Any:
        """Y[o1, o2] = sum of x[i1, i2] C1[i1, o1] C2[i2, o2]; two small products a token."""
        first, second = self.factors()
        (in_1, out_1), (in_2, out_2) = self.sides
        lead = tuple(keras.ops.shape(flat))[:-1]
        x = keras.ops.reshape(flat, (*lead, in_1, in_2))
        x = keras.ops.einsum("...ij,jp->...ip", x, second)
        x = keras.ops.einsum("...ip,io->...op", x, first * self.scaling)
        return keras.ops.reshape(x, (*lead, out_1 * out_2))
