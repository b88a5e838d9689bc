"""A dense layer of any kind as the matrix product it is: flattened input times (in, out)."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.backbones.places import einsum_axes


class Projection:
    """Views a Dense, EinsumDense or Embedding layer as y = flat(x) W + b, W of shape (in, out).

    An embedding is the product of one-hot rows with its table.

    Args:
        layer: A built layer.

    Attributes:
        size_in: Rows of W.
        size_out: Columns of W.
        is_embedding: Whether the input is token ids.
    """

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self.is_embedding = hasattr(layer, "embeddings")
        shape = tuple(int(size) for size in self.kernel.shape)
        equation = getattr(layer, "equation", None)
        contracted, produced = einsum_axes(equation) if equation else ([0], [1])
        self._order = (*contracted, *produced)
        self._transposed = tuple(shape[axis] for axis in self._order)
        self.in_shape = tuple(shape[axis] for axis in contracted)
        self.out_shape = tuple(shape[axis] for axis in produced)
        self.size_in, self.size_out = math.prod(self.in_shape), math.prod(self.out_shape)

    @property
    def kernel(self) -> Any:
        """The variable that holds W."""
        return self.layer.embeddings if self.is_embedding else self.layer.kernel

    @property
    def bias(self) -> Any:
        """The variable that holds b, or None."""
        return None if self.is_embedding else self.layer.bias

    def flat_bias(self) -> Any:
        """The bias as a tensor (out,)."""
        return keras.ops.reshape(keras.ops.convert_to_tensor(self.bias), (self.size_out,))

    def matrix(self) -> Any:
        """W as a tensor (in, out)."""
        kernel = keras.ops.convert_to_tensor(self.kernel)
        if self._order != tuple(range(len(self._order))):
            kernel = keras.ops.transpose(kernel, self._order)
        return keras.ops.reshape(kernel, (self.size_in, self.size_out))

    def kernel_from(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """A matrix (in, out) in the shape of the kernel."""
        return np.transpose(np.reshape(matrix, self._transposed), np.argsort(self._order))

    def flatten_input(self, x: Any) -> Any:
        """x with its contracted axes made one: (..., in)."""
        return _reshaped(x, len(self.in_shape), (self.size_in,))

    def flatten_output(self, y: Any) -> Any:
        """y with its produced axes made one: (..., out)."""
        return _reshaped(y, len(self.out_shape), (self.size_out,))

    def unflatten_input(self, x: Any) -> Any:
        """(..., in) in the shape that the layer takes."""
        return _reshaped(x, 1, self.in_shape)

    def unflatten_output(self, y: Any) -> Any:
        """(..., out) in the shape that the layer gives."""
        return _reshaped(y, 1, self.out_shape)


def _reshaped(x: Any, trailing: int, shape: tuple[int, ...]) -> Any:
    if trailing == len(shape) == 1:
        return x
    lead = tuple(keras.ops.shape(x))[: len(x.shape) - trailing]  # symbolic where unknown
    return keras.ops.reshape(x, (*lead, *shape))
