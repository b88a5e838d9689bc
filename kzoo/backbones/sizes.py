"""Widths of a Keras layer as an adapter sees it: everything flattened to (in, out)."""

from __future__ import annotations

import math
from typing import Any


def einsum_axes(equation: str) -> tuple[list[int], list[int]]:
    """Which kernel axes of an EinsumDense are contracted, and which ones come out.

    Both in the order in which the axes stand in the input and in the output, so that a kernel
    transposed to contracted + produced axes is the matrix of the flattened projection. Gemma's
    `btd,ndh->btnh` gives ([1], [0, 2]).

    Args:
        equation: Such as `abc,cde->abde`.
    """
    operands, _, output = equation.replace(" ", "").partition("->")
    source, kernel = operands.split(",")
    contracted = [kernel.index(axis) for axis in source if axis in kernel and axis not in output]
    produced = [kernel.index(axis) for axis in output if axis in kernel]
    return contracted, produced


def layer_sizes(layer: Any) -> tuple[int, int, bool]:
    """(size_in, size_out, has a bias) of a dense, embedding, norm or attention layer.

    Blocks and other layers without a kernel of their own have sizes 0.
    """
    kind = type(layer).__name__
    if hasattr(layer, "equation"):
        shape = tuple(int(size) for size in layer.kernel.shape)
        contracted, produced = einsum_axes(layer.equation)
        sizes = [math.prod(shape[axis] for axis in axes) for axes in (contracted, produced)]
        return sizes[0], sizes[1], layer.bias is not None
    if kind == "Dense":
        size_in, size_out = (int(size) for size in layer.kernel.shape)
        return size_in, size_out, layer.bias is not None
    if hasattr(layer, "embeddings") and hasattr(layer, "output_dim"):
        return int(layer.input_dim), int(layer.output_dim), False
    if hasattr(layer, "position_embeddings"):
        rows, width = (int(size) for size in layer.position_embeddings.shape)
        return rows, width, False
    if kind.endswith(("Norm", "Normalization")):
        weights = [v for v in layer.weights if v.path.rpartition("/")[2] != "beta"]
        size = int(weights[0].shape[0])
        return size, size, len(layer.weights) > len(weights)
    if hasattr(layer, "_key_dense") or hasattr(layer, "key_dense"):
        parts = [
            getattr(layer, f"_{name}_dense", None) or getattr(layer, f"{name}_dense")
            for name in ("query", "key")
        ]
        return layer_sizes(parts[0])[1], layer_sizes(parts[1])[1], False
    if hasattr(layer, "key_projector"):  # T5
        return layer_sizes(layer.query_projector)[1], layer_sizes(layer.key_projector)[1], False
    return 0, 0, False
