"""What layers of adapters compute with: AdapterHub's non-linearities, dense parts, gates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from kzoo.seeds import derive_seed

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


def gate(u: Any, kernel: Any, bias: Any) -> Any:
    """The gate of UniPELT: mean over the tokens of sigmoid(u W + b), (rows, 1, gates).

    Mao et al. 2022, arXiv:2110.07577.

    Args:
        u: (rows, tokens, H), or (rows, H), which is then one token.
        kernel: (H, gates).
        bias: (gates,).
    """
    each = keras.ops.sigmoid(dense(u, kernel, bias))
    return keras.ops.mean(each, axis=1, keepdims=True) if len(u.shape) > 2 else each


def add_gate(layer: Any, width: int, gates: int, seed: int) -> None:
    """Makes the variables `gate_kernel` (width, gates) and `gate_bias` (gates,)."""
    start = keras.initializers.RandomNormal(stddev=0.02, seed=derive_seed(seed, "gate"))
    layer.gate_kernel = layer.add_weight((width, gates), start, name="gate_kernel")
    layer.gate_bias = layer.add_weight((gates,), "zeros", name="gate_bias")
