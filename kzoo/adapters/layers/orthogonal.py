"""The OFT layer; formulas in `kzoo.adapters.methods.orthogonal`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import AdapterLayer, Function
from kzoo.adapters.layers.delta import KeepMask, Projection, numbers
from kzoo.adapters.methods.orthogonal import OftConfig
from kzoo.backbones.places import Place


class OftLayer(AdapterLayer):
    """y = inner(x R), on the flattened projection.

    Variable: `oft_r` (rotations, b (b - 1) / 2), the upper triangles row by row.
    """

    mergeable = True

    def __init__(self, config: OftConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        self.projection = Projection(place.layer)
        self.number, self.width = config.blocks(config.width(place))
        rotations = 1 if config.block_share else self.number
        # Triangle number k stands at (row, column) and, negated, at (column, row).
        rows, columns = np.triu_indices(self.width, 1)
        self._upper = np.zeros((self.width, self.width), "int32")
        self._sign = np.zeros((self.width, self.width), "float32")
        self._upper[rows, columns] = self._upper[columns, rows] = np.arange(len(rows))
        self._sign[rows, columns], self._sign[columns, rows] = 1.0, -1.0
        limit = config.eps / np.sqrt(rotations)
        self.constrained = _Ball(float(limit)) if config.coft else None
        self.oft_r = self.add_weight(
            (rotations, len(rows)), "zeros", constraint=self.constrained, name="oft_r"
        )
        self.dropout = None
        if config.module_dropout and rotations > 1:
            self.dropout = KeepMask(config.module_dropout, building.seed_at(place))

    def rotations(self) -> Any:
        """R of every block, or the one that all share: (rotations, b, b)."""
        ops = keras.ops
        triangle = ops.convert_to_tensor(self.oft_r)
        if self.constrained is not None:
            # Values are inside already, but for those of a file; gradients as without.
            triangle = triangle + ops.stop_gradient(self.constrained(triangle) - triangle)
        eye = ops.eye(self.width, dtype=triangle.dtype)
        if self.width == 1:  # nothing to rotate
            return ops.broadcast_to(eye, (triangle.shape[0], 1, 1))
        sign = ops.cast(self._sign, triangle.dtype)
        q = ops.reshape(ops.take(triangle, self._upper.reshape(-1), axis=1), (-1, *sign.shape))
        q = q * sign
        if self.config.cayley_neumann:
            return _series(eye, q, self.config.cayley_neumann_terms)
        # X = (I - Q)(I + Q)^-1; the factors commute, so that no transposition is needed.
        exact = ops.solve(ops.cast(eye + q, "float32"), ops.cast(eye - q, "float32"))
        return ops.cast(exact, triangle.dtype)

    def apply(self, inner: Function, x: Any) -> Any:
        """See the class."""
        if self.projection.is_embedding:
            return self.turned(inner(x))
        flat = self.projection.flatten_input(x)
        return inner(self.projection.unflatten_input(self.turned(flat)))

    def turned(self, flat: Any) -> Any:
        """X R, for x of shape (..., width)."""
        ops = keras.ops
        lead = tuple(ops.shape(flat))[:-1]
        blocks = ops.reshape(flat, (*lead, self.number, self.width))
        rotations = self.rotations()
        if self.dropout is not None:
            keep = self.dropout(ops.ones((self.number, 1, 1), rotations.dtype))
            rotations = keep * rotations + (1 - keep) * ops.eye(self.width, dtype=rotations.dtype)
        if self.config.block_share:
            turned = ops.matmul(blocks, rotations[0])
        else:
            turned = ops.einsum("...rk,rkc->...rc", blocks, rotations)
        return ops.reshape(turned, (*lead, self.number * self.width))

    def merged(self) -> list[tuple[Any, NDArray[Any]]]:
        """R W, or at an embedding W R."""
        rotations = numbers(self.rotations())
        rotations = np.broadcast_to(rotations, (self.number, self.width, self.width))
        if self.projection.is_embedding:
            table = numbers(self.projection.matrix())
            rows = table.reshape(-1, self.number, self.width)
            turned = np.einsum("vrk,rkc->vrc", rows, rotations).reshape(table.shape)
            return [(self.projection.kernel, self.projection.kernel_from(turned))]
        blocks = numbers(self.projection.matrix()).reshape(self.number, self.width, -1)
        matrix = (rotations @ blocks).reshape(self.projection.size_in, -1)
        return [(self.projection.kernel, self.projection.kernel_from(matrix))]


class _Ball(keras.constraints.Constraint):  # type: ignore[misc]
    """Projects each block's Q onto the ball of a radius in the Frobenius norm (COFT)."""

    def __init__(self, radius: float) -> None:
        self.radius = radius

    def __call__(self, triangle: Any) -> Any:
        # Each number of the triangle stands twice in Q.
        squares = 2 * keras.ops.sum(keras.ops.square(triangle), axis=-1, keepdims=True)
        norm = keras.ops.sqrt(keras.ops.maximum(squares, 1e-24))
        return triangle * keras.ops.minimum(1.0, self.radius / norm)

    def get_config(self) -> dict[str, Any]:
        """The radius."""
        return {"radius": self.radius}


def _series(eye: Any, q: Any, terms: int) -> Any:
    """I + 2Q + 2Q^2 + ... + Q^last."""
    total = eye + 2 * q
    if terms == 2:
        return total
    power = q
    last = max(terms - 1, 3)
    for exponent in range(2, last + 1):
        power = keras.ops.matmul(power, q)
        total = total + (power if exponent == last else 2 * power)
    return total
