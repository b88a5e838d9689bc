"""The layers of OFT, BOFT, HRA and RoAd; formulas in `kzoo.adapters.methods.orthogonal`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import AdapterLayer, Function
from kzoo.adapters.layers.delta import KeepMask, Projection, numbers, uniform
from kzoo.adapters.methods.orthogonal import BoftConfig, HraConfig, OftConfig, RoadConfig
from kzoo.backbones.places import Place


class TurningLayer(AdapterLayer):
    """y = inner(x R), on the flattened projection, for a matrix R that subclasses apply."""

    mergeable = True

    def __init__(self, config: Any, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        self.projection = Projection(place.layer)

    def turned(self, flat: Any) -> Any:
        """X R, for x of shape (..., width)."""
        raise NotImplementedError

    def apply(self, inner: Function, x: Any) -> Any:
        """See the class."""
        flat = self.projection.flatten_input(x)
        return inner(self.projection.unflatten_input(self.turned(flat)))

    def merged(self) -> list[tuple[Any, NDArray[Any]]]:
        """R W."""
        rotation = numbers(self.turned(keras.ops.eye(self.projection.size_in, dtype="float32")))
        matrix = rotation @ numbers(self.projection.matrix())
        return [(self.projection.kernel, self.projection.kernel_from(matrix))]


class OftLayer(TurningLayer):
    """As above, with blocks that are rotated each for itself.

    Variable: `oft_r` (rotations, b (b - 1) / 2), the upper triangles row by row.
    """

    def __init__(self, config: OftConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
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
        return super().apply(inner, x)

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


class BoftLayer(TurningLayer):
    """y = s * (inner(x R) - b) + b.

    Variables: `boft_r` (m, blocks, width, width), the squares; `boft_s` (out,).
    """

    def __init__(self, config: BoftConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        self.number, self.width = config.blocks(self.projection.size_in)
        shape = (config.factors, self.number, self.width, self.width)
        self.boft_r = self.add_weight(shape, "zeros", name="boft_r")
        self.boft_s = self.add_weight((self.projection.size_out,), "ones", name="boft_s")
        self.orders = [
            butterfly(self.number >> factor, self.number * self.width, self.width, config.factors)
            for factor in range(config.factors)
        ]
        seed = building.seed_at(place)
        self.dropout = KeepMask(config.dropout, seed) if config.dropout else None

    @property
    def reads_weights(self) -> bool:
        """The bias is taken off and put back."""
        return self.projection.bias is not None

    def rotations(self) -> Any:
        """Q of every block: float32 (m, blocks, width, width)."""
        ops = keras.ops
        square = ops.cast(self.boft_r, "float32")
        skew = 0.5 * (square - ops.swapaxes(square, -1, -2))
        eye = ops.eye(self.width, dtype="float32")
        found = ops.solve(eye + skew, eye - skew)  # the factors commute
        if self.dropout is not None:
            keep = self.dropout(ops.ones((*self.boft_r.shape[:2], 1, 1), "float32"))
            found = keep * found + (1 - keep) * eye
        return found

    def turned(self, flat: Any) -> Any:
        """X B_m ... B_1."""
        ops = keras.ops
        lead = tuple(ops.shape(flat))[:-1]
        rotations = ops.cast(self.rotations(), flat.dtype)
        for factor in reversed(range(self.config.factors)):
            order = self.orders[factor]
            x = flat if order is None else ops.take(flat, np.argsort(order), axis=-1)
            x = ops.reshape(x, (*lead, self.number, self.width))
            x = ops.einsum("...rk,rkc->...rc", x, rotations[factor])
            x = ops.reshape(x, (*lead, self.number * self.width))
            flat = x if order is None else ops.take(x, order, axis=-1)
        return flat

    def apply(self, inner: Function, x: Any) -> Any:
        """See the class."""
        y = self.projection.flatten_output(super().apply(inner, x))
        bias = 0.0
        if self.projection.bias is not None:
            bias = keras.ops.cast(self.projection.flat_bias(), y.dtype)
        y = (y - bias) * keras.ops.cast(self.boft_s, y.dtype) + bias
        return self.projection.unflatten_output(y)

    def merged(self) -> list[tuple[Any, NDArray[Any]]]:
        """R W diag(s)."""
        rotation = numbers(self.turned(keras.ops.eye(self.projection.size_in, dtype="float32")))
        matrix = rotation @ numbers(self.projection.matrix()) * numbers(self.boft_s)
        return [(self.projection.kernel, self.projection.kernel_from(matrix))]


def butterfly(parts: int, size: int, width: int, factors: int) -> NDArray[Any] | None:
    """The order of one factor: even half blocks of each part first, then the odd ones.

    Args:
        parts: How many parts are ordered each for itself.
        size: Number of features.
        width: Width of a block.
        factors: Number of factors; None is returned for a single one, which has no order.
    """
    if factors == 1:
        return None
    halves = np.arange(size).reshape(parts, -1, 2, width // 2)
    return np.swapaxes(halves, 1, 2).reshape(-1)


class HraLayer(TurningLayer):
    """As above, with R a product of reflections.

    Variable: `hra_u` (in, r).
    """

    def __init__(self, config: HraConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        size, seed = self.projection.size_in, building.seed_at(place)
        # torch's fan-in is the last axis of its tensor.
        pairs = config.r // 2 if not config.orthogonal and config.r % 2 == 0 else config.r
        self.hra_u = self.add_weight((size, config.r), "zeros", name="hra_u")
        start = uniform(pairs, seed)((size, pairs))
        self.hra_u.assign(keras.ops.repeat(start, config.r // pairs, axis=1))

    def turned(self, flat: Any) -> Any:
        """X H_r ... H_1, one narrow product after the other."""
        ops = keras.ops
        u = ops.cast(self.hra_u, "float32")
        if self.config.orthogonal:
            v = ops.cast(ops.qr(u)[0], flat.dtype)
            return flat - 2 * ops.matmul(ops.matmul(flat, v), ops.transpose(v))
        u = ops.cast(u / ops.sqrt(ops.sum(ops.square(u), axis=0)), flat.dtype)
        for number in reversed(range(self.config.r)):
            one = u[:, number : number + 1]
            flat = flat - 2 * ops.matmul(flat, one) * one[:, 0]
        return flat


class RoadLayer(AdapterLayer):
    """y = R inner(x), on the flattened projection, with R made of 2 x 2 matrices.

    Variables: `road_theta` and `road_alpha`, both (out / 2,), (out,) or (2 out,).
    """

    mergeable = True

    def __init__(self, config: RoadConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        self.projection = Projection(place.layer)
        shape = (config.size_at(place),)
        self.road_theta = self.add_weight(shape, "zeros", name="road_theta")
        self.road_alpha = self.add_weight(shape, "ones", name="road_alpha")

    def factors(self) -> tuple[Any, Any]:
        """What each output and what its partner is multiplied by: both (out,)."""
        ops = keras.ops
        theta, alpha = ops.cast(self.road_theta, "float32"), ops.cast(self.road_alpha, "float32")
        size = self.config.group_size
        if self.config.variant == "road_1":
            theta, alpha = (
                ops.repeat(ops.reshape(part, (-1, 1, size // 2)), 2, axis=1)
                for part in (theta, alpha)
            )
        elif self.config.variant == "road_4":
            theta, alpha = (ops.reshape(part, (-1, 2, size)) for part in (theta, alpha))
            cosine, sine = alpha[:, 0] * ops.cos(theta[:, 0]), alpha[:, 1] * ops.sin(theta[:, 1])
            return ops.reshape(cosine, (-1,)), ops.reshape(sine, (-1,))
        return ops.reshape(alpha * ops.cos(theta), (-1,)), ops.reshape(
            alpha * ops.sin(theta), (-1,)
        )

    def turned(self, y: Any) -> Any:
        """Y R^T, for y of shape (..., out)."""
        ops = keras.ops
        own, other = (ops.cast(part, y.dtype) for part in self.factors())
        lead = tuple(ops.shape(y))[:-1]
        halves = ops.reshape(y, (*lead, -1, 2, self.config.group_size // 2))
        first, second = halves[..., 0, :], halves[..., 1, :]
        partner = ops.reshape(ops.stack([-second, first], axis=-2), (*lead, y.shape[-1]))
        return y * own + partner * other

    def apply(self, inner: Function, x: Any) -> Any:
        """See the class."""
        y = self.projection.flatten_output(inner(x))
        return self.projection.unflatten_output(self.turned(y))

    def merged(self) -> list[tuple[Any, NDArray[Any]]]:
        """Columns of W turned, and the bias."""
        projection = self.projection
        matrix = numbers(self.turned(keras.ops.convert_to_tensor(numbers(projection.matrix()))))
        changes = [(projection.kernel, projection.kernel_from(matrix))]
        if projection.bias is not None:
            bias = numbers(
                self.turned(keras.ops.convert_to_tensor(numbers(projection.flat_bias())))
            )
            changes.append((projection.bias, bias.reshape(projection.bias.shape)))
        return changes
