"""The bottleneck layer; formulas in `kzoo.adapters.methods.bottleneck`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from kzoo.adapters.config import Building
from kzoo.adapters.layers.site import AdapterLayer, Function
from kzoo.adapters.methods.bottleneck import BottleneckConfig
from kzoo.backbones.places import Place

_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "relu": keras.ops.relu,
    "swish": keras.ops.silu,
    "silu": keras.ops.silu,
    "gelu": lambda x: keras.ops.gelu(x, approximate=False),
    "gelu_new": lambda x: keras.ops.gelu(x, approximate=True),
    "tanh": keras.ops.tanh,
    "leakyrelu": lambda x: keras.ops.leaky_relu(x, negative_slope=0.01),
}


class BottleneckLayer(AdapterLayer):
    """y + A(y) around a projection, or N(A(N(z)) + z) around the block's layer norm N.

    Variables: `down_kernel` (H, d), `down_bias` (d,), `up_kernel` (d, H), `up_bias` (H,).
    """

    def __init__(self, config: BottleneckConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        hidden, width, seed = place.size_out, config.width(place.size_out), building.seed_at(place)
        self.down_kernel = self.add_weight(
            (hidden, width),
            keras.initializers.RandomNormal(stddev=0.02, seed=seed),
            name="down_kernel",
        )
        self.down_bias = self.add_weight((width,), "zeros", name="down_bias")
        self.up_kernel = self.add_weight((width, hidden), "zeros", name="up_kernel")
        self.up_bias = self.add_weight((hidden,), "zeros", name="up_bias")
        self.function = _FUNCTIONS[config.non_linearity]

    def bottleneck(self, u: Any) -> Any:
        """A(u), shape of u."""
        down = self.function(keras.ops.matmul(u, self.down_kernel) + self.down_bias)
        return keras.ops.matmul(down, self.up_kernel) + self.up_bias

    def apply(self, inner: Function, x: Any) -> Any:
        """See the class."""
        y = inner(x)
        if self.config.original_ln_before:
            return inner(self.bottleneck(y) + x)
        return y + self.bottleneck(y)
