"""The invertible layer; formulas in `kzoo.adapters.methods.invertible`."""

from __future__ import annotations

from typing import Any

import keras

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import FUNCTIONS, AdapterLayer, Function, dense
from kzoo.adapters.methods.invertible import InvertibleConfig
from kzoo.backbones.places import Place
from kzoo.seeds import derive_seed


class NiceLayer(AdapterLayer):
    """Couples the two halves of the embedding, and can undo it.

    Variables, for F and G (`f_` and `g_`): `f_down_kernel` (half, n), `f_down_bias` (n,),
    `f_up_kernel` (n, other half), `f_up_bias` (other half,).
    """

    row_wise = True

    def __init__(self, config: InvertibleConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        first, second = config.halves(place.size_out)
        seed = building.seed_at(place)
        for name, size_in, size_out in (("f", second, first), ("g", first, second)):
            inside = config.inner_width(size_in)
            shapes = {
                "down_kernel": (size_in, inside),
                "down_bias": (inside,),
                "up_kernel": (inside, size_out),
                "up_bias": (size_out,),
            }
            random = ("down_kernel",) if config.init_weights == "identity" else tuple(shapes)
            for part, shape in shapes.items():
                start: Any = "zeros"
                if part in random and part.endswith("kernel"):
                    own = derive_seed(seed, name, part)
                    start = keras.initializers.RandomNormal(stddev=0.02, seed=own)
                setattr(
                    self, f"{name}_{part}", self.add_weight(shape, start, name=f"{name}_{part}")
                )
        self.function = FUNCTIONS[config.non_linearity]

    def f(self, x: Any) -> Any:
        """F, from the second half to the first."""
        inside = self.function(dense(x, self.f_down_kernel, self.f_down_bias))
        return dense(inside, self.f_up_kernel, self.f_up_bias)

    def g(self, x: Any) -> Any:
        """G, from the first half to the second."""
        inside = self.function(dense(x, self.g_down_kernel, self.g_down_bias))
        return dense(inside, self.g_up_kernel, self.g_up_bias)

    def forward(self, x: Any) -> Any:
        """y1 = x1 + F(x2), y2 = x2 + G(y1); shape of x."""
        x1, x2 = self.split(x)
        y1 = x1 + self.f(x2)
        return keras.ops.concatenate([y1, x2 + self.g(y1)], axis=-1)

    def inverse(self, y: Any) -> Any:
        """The x with forward(x) = y, for heads that compare with the embeddings."""
        y1, y2 = self.split(y)
        x2 = y2 - self.g(y1)
        return keras.ops.concatenate([y1 - self.f(x2), x2], axis=-1)

    def split(self, x: Any) -> tuple[Any, Any]:
        """The two halves of the features; the second is longer where they are odd."""
        first, _ = self.config.halves(int(x.shape[-1]))
        return x[..., :first], x[..., first:]

    def apply(self, inner: Function, x: Any) -> Any:
        """See the class."""
        return self.forward(inner(x))
