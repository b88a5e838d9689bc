"""The gate of UniPELT (Mao et al. 2022, arXiv:2110.07577), which several layers have."""

from __future__ import annotations

from typing import Any

import keras

from kzoo.adapters.layers.functions import dense
from kzoo.seeds import derive_seed


def gate(u: Any, kernel: Any, bias: Any) -> Any:
    """Mean over the tokens of sigmoid(u W + b): (rows, 1, gates).

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
