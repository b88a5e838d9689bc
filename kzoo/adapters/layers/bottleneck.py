"""The bottleneck layer; formulas in `kzoo.adapters.bottleneck`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from kzoo.adapters.bottleneck import BottleneckConfig
from kzoo.adapters.layers.site import AdapterLayer

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

    def __init__(
        self, config: BottleneckConfig, site: str, base: Any, name: str, seed: int
    ) -> None:
        super().__init__(config, site, base, name)
        hidden = int(base.gamma.shape[-1] if site.endswith("norm") else base.kernel.shape[-1])
        width = config.width(hidden)
        self.down_kernel = self.add_weight(
            (hidden, width),
            keras.initializers.RandomNormal(stddev=0.02, seed=seed),
            name="down_kernel",
        )
        self.down_bias = self.add_weight((width,), "zeros", name="down_bias")
        self.up_kernel = self.add_weight((width, hidden), "zeros", name="up_kernel")
        self.up_bias = self.add_weight((hidden,), "zeros", name="up_bias")
        self.function = _FUNCTIONS[config.non_linearity]
        self.built = True

    def bottleneck(self, u: Any) -> Any:
        """A(u), shape of u."""
        down = self.function(keras.ops.matmul(u, self.down_kernel) + self.down_bias)
        return keras.ops.matmul(down, self.up_kernel) + self.up_bias

    def apply(self, inner: Callable[[Any], Any], x: Any, training: bool | None) -> Any:
        """See the class."""
        y = inner(x)
        if self.config.original_ln_before:
            return inner(self.bottleneck(y) + x)
        return y + self.bottleneck(y)
