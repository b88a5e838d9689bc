"""Base of the layers that add a matrix to a projection, and the projection as the matrix it is."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import AdapterLayer, Function
from kzoo.backbones.places import Place, einsum_axes
from kzoo.keras_internals import floating_matrix, is_quantized


def uniform(fan_in: int, seed: int) -> Any:
    """Kaiming's uniform initializer with a = sqrt(5), torch's and PEFT's: +-1 / sqrt(fan_in)."""
    limit = 1 / math.sqrt(fan_in)
    return keras.initializers.RandomUniform(-limit, limit, seed=seed)


def numbers(value: Any) -> NDArray[np.float32]:
    """A tensor or variable of any float type as float32."""
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(value, "float32")))


class DeltaLayer(AdapterLayer):
    """y = inner(x) + x D, on the flattened projection, with a matrix D (in, out).

    Subclasses give `delta`, and `update` where x D can be had without forming D. Where the
    configuration has a `dropout`, it is the share of x that is dropped in training.
    """

    mergeable = True

    def __init__(self, config: Any, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        self.projection = Projection(place.layer)
        self.seed = building.seed_at(place)
        rate = 0.0 if self.projection.is_embedding else getattr(config, "dropout", 0.0)
        self.dropout = keras.layers.Dropout(rate, seed=self.seed) if rate else None

    @property
    def adds(self) -> bool:
        """See `AdapterLayer`."""
        return not self.reads_weights

    def delta(self) -> Any:
        """D as a tensor (in, out)."""
        raise NotImplementedError

    def update(self, flat: Any) -> Any:
        """The product x D for x of shape (..., in)."""
        return keras.ops.matmul(self.dropped(flat), self.delta())

    def dropped(self, flat: Any) -> Any:
        """The input with what is dropped at zero."""
        return flat if self.dropout is None else self.dropout(flat)

    def apply(self, inner: Function, x: Any) -> Any:
        """See the class."""
        flat = self.projection.flatten_input(x)
        return inner(x) + self.projection.unflatten_output(self.update(flat))

    def merged(self) -> list[tuple[Any, NDArray[Any]]]:
        """W + D."""
        matrix = numbers(self.projection.matrix()) + numbers(self.delta())
        return [(self.projection.kernel, self.projection.kernel_from(matrix))]


def rows_of(table: Any, ids: Any) -> Any:
    """Rows of a table (n, width); zeros for virtual tokens, which are beyond it."""
    ids = keras.ops.cast(ids, "int32")
    known = ids < table.shape[0]
    rows = keras.ops.take(table, keras.ops.where(known, ids, 0), axis=0)
    return rows * keras.ops.cast(known[..., None], rows.dtype)


def token_table(layer: Any) -> NDArray[np.float32]:
    """The rows of an embedding, float32 (vocabulary, width); as a quantised one gives them."""
    return numbers(floating_matrix(layer) if is_quantized(layer) else layer.embeddings)


class KeepMask(keras.layers.Layer):  # type: ignore[misc]
    """Zeros with probability `rate` while training, ones otherwise; nothing is scaled up.

    Args:
        rate: Share of zeros.
        seed: Decides which.
    """

    def __init__(self, rate: float, seed: int) -> None:
        super().__init__(autocast=False)
        self.rate = rate
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.built = True

    def call(self, ones: Any, training: bool = False) -> Any:
        """A mask of the shape and type of `ones`."""
        if not training or not self.rate:
            return ones
        drawn = keras.random.uniform(keras.ops.shape(ones), seed=self.seed_generator)
        return keras.ops.cast(drawn >= self.rate, ones.dtype)


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
        """W as a tensor (in, out); of a quantised layer what its integers stand for."""
        if is_quantized(self.layer):
            if self.is_embedding:
                return floating_matrix(self.layer)
            return self.flatten_output(floating_matrix(self.layer, self.in_shape))
        kernel = keras.ops.convert_to_tensor(self.kernel)
        if self._order != tuple(range(len(self._order))):
            kernel = keras.ops.transpose(kernel, self._order)
        return keras.ops.reshape(kernel, (self.size_in, self.size_out))

    def kernel_from(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """A matrix (in, out) in the shape of the kernel."""
        return np.transpose(np.reshape(matrix, self._transposed), np.argsort(self._order))

    def matrix_from(self, kernel: NDArray[Any]) -> NDArray[Any]:
        """A kernel's values as a matrix (in, out)."""
        return np.transpose(kernel, self._order).reshape(self.size_in, self.size_out)

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
