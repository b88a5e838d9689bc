"""What layers of adapters compute with: non-linearities by AdapterHub's names, dense parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "relu": keras.ops.relu,
    "swish": keras.ops.silu,
    "silu": keras.ops.silu,
    "gelu": lambda x: keras.ops.gelu(x, approximate=False),
    "gelu_new": lambda x: keras.ops.gelu(x, approximate=True),
    "tanh": keras.ops.tanh,
    "leakyrelu": lambda x: keras.ops.leaky_relu(x, negative_slope=0.01),
}


def like(x: Any, variable: Any) -> Any:
    """A variable in the type of x. Layer norms switch Keras' own casting off while they run."""
    return keras.ops.cast(variable, x.dtype)


def dense(x: Any, kernel: Any, bias: Any) -> Any:
    """x W + b in the type of x: (..., in) -> (..., out)."""
    return keras.ops.matmul(x, like(x, kernel)) + like(x, bias)
