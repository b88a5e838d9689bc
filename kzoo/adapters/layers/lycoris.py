"""The layers of LoHa and LoKr; formulas in `kzoo.adapters.methods.lycoris`."""

from __future__ import annotations

from typing import Any

import keras

from kzoo.adapters.config import Building
from kzoo.adapters.layers.delta import DeltaLayer, KeepMask, uniform
from kzoo.adapters.methods.lycoris import LohaConfig, LokrConfig
from kzoo.backbones.places import Place
from kzoo.seeds import derive_seed


class LycorisLayer(DeltaLayer):
    """A matrix is added; in training some of its columns, or all of it, are left out."""

    def __init__(self, config: Any, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        self.rank_dropout = self.module_dropout = None
        if config.rank_dropout:
            self.rank_dropout = KeepMask(config.rank_dropout, derive_seed(self.seed, "rank"))
        if config.module_dropout:
            self.module_dropout = KeepMask(config.module_dropout, derive_seed(self.seed, "module"))

    def product(self, flat: Any) -> Any:
        """The update before dropout: (..., out)."""
        return super().update(flat)

    def update(self, flat: Any) -> Any:
        """The update with what is dropped at zero: (..., out)."""
        y = self.product(flat)
        if self.rank_dropout is not None:
            mask = self.rank_dropout(keras.ops.ones((self.projection.size_out,), y.dtype))
            if self.config.rank_dropout_scale:
                # All may be dropped at once, and 0 / 0 is no number.
                mask = mask / keras.ops.maximum(keras.ops.mean(mask), 1 / mask.shape[0])
            y = y * mask
        if self.module_dropout is not None:
            y = y * self.module_dropout(keras.ops.ones((1,), y.dtype))
        return y


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
