"""The Compacter layer; formulas in `kzoo.adapters.methods.compacter`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import like
from kzoo.adapters.layers.bottleneck import BottleneckLayer
from kzoo.adapters.methods.compacter import CompacterConfig
from kzoo.backbones.places import Place
from kzoo.seeds import derive_seed


class PhmRule(keras.layers.Layer):  # type: ignore[misc]
    """What all places share: A, of shape (n, n, n).

    Variables: `phm_rule` (n, n, n), or `phm_rule_left` (n, n, 1) and `phm_rule_right` (n, 1, n).
    """

    def __init__(
        self, config: CompacterConfig, places: Sequence[Place], name: str, seed: int
    ) -> None:
        super().__init__(name=name)
        self.rule = _add_rule(self, config, "phm_rule", seed)
        self.built = True


class CompacterLayer(BottleneckLayer):
    """A bottleneck that never forms its two matrices where they have a rank.

    Variables: `down_left` (n, H / n, rank), `down_right` (n, rank, d / n), `up_left`, `up_right`;
    `down_kernel` (n, H / n, d / n) and `up_kernel` without a rank; `down_bias` (d,), `up_bias`
    (H,); where the rule is the place's own, `down_rule` and `up_rule` as in `PhmRule`.
    """

    row_wise = False

    def add_projections(self, hidden: int, width: int, building: Building, seed: int) -> None:
        """Makes the variables of `down` and `up`."""
        for name, size_in, size_out in (("down", hidden, width), ("up", width, hidden)):
            own = derive_seed(seed, name)
            zero = name == "up" and self.config.init_weights == "identity"
            self._add_factors(name, size_in // self.config.phm_dim, size_out, zero, own)
            if self.config.phm_bias:
                setattr(
                    self, f"{name}_bias", self.add_weight((size_out,), "zeros", name=f"{name}_bias")
                )
            # In a function: the shared layer has an owner already.
            if building.shared is not None:
                setattr(self, f"{name}_a", building.shared.rule)
            else:
                setattr(self, f"{name}_a", _add_rule(self, self.config, f"{name}_rule", own))

    def _add_factors(self, name: str, i: int, size_out: int, zero: bool, seed: int) -> None:
        n, rank = self.config.phm_dim, self.config.phm_rank
        j = size_out // n
        shapes = (
            {"kernel": (n, i, j)} if rank is None else {"left": (n, i, rank), "right": (n, rank, j)}
        )
        for part, shape in shapes.items():
            start: Any = "zeros"
            if not (zero and part != "left"):  # Glorot, for each of the n matrices
                start = keras.initializers.RandomNormal(
                    stddev=math.sqrt(2 / (shape[1] + shape[2])), seed=derive_seed(seed, part)
                )
            setattr(self, f"{name}_{part}", self.add_weight(shape, start, name=f"{name}_{part}"))

    def down(self, u: Any) -> Any:
        """(..., H) -> (..., d)."""
        return self._project(u, "down")

    def up(self, narrow: Any) -> Any:
        """(..., d) -> (..., H)."""
        return self._project(narrow, "up")

    def _project(self, x: Any, name: str) -> Any:
        rule = like(x, getattr(self, f"{name}_a")())
        if self.config.phm_rank is None:
            y = full_phm(x, rule, like(x, getattr(self, f"{name}_kernel")))
        else:
            left, right = getattr(self, f"{name}_left"), getattr(self, f"{name}_right")
            y = phm(x, rule, like(x, left), like(x, right))
        return y + like(x, getattr(self, f"{name}_bias")) if self.config.phm_bias else y


def phm(x: Any, rule: Any, left: Any, right: Any) -> Any:
    """x sum_k kron(rule_k, left_k right_k), without forming the matrix.

    A token costs about rank n (in + out) multiplications instead of in out.

    Args:
        x: (..., in).
        rule: (n, n, n).
        left: (n, in / n, rank).
        right: (n, rank, out / n).

    Returns:
        (..., out).
    """
    ops, n = keras.ops, int(left.shape[0])
    blocks = _split(x, n)  # kron(A, B) takes block p of x to block q of y by A[p, q] B
    narrow = ops.einsum("...pi,kir->...pkr", blocks, left)
    mixed = ops.einsum("...pkr,kpq->...qkr", narrow, rule)
    return _joined(ops.einsum("...qkr,krj->...qj", mixed, right), n * int(right.shape[2]))


def full_phm(x: Any, rule: Any, kernel: Any) -> Any:
    """x sum_k kron(rule_k, kernel_k), with kernel (n, in / n, out / n)."""
    n, i, j = (int(size) for size in kernel.shape)
    matrix = keras.ops.einsum("kpq,kij->piqj", rule, kernel)
    return keras.ops.matmul(x, keras.ops.reshape(matrix, (n * i, n * j)))


def _split(x: Any, n: int) -> Any:
    return keras.ops.reshape(x, (*keras.ops.shape(x)[:-1], n, int(x.shape[-1]) // n))


def _joined(y: Any, size: int) -> Any:
    return keras.ops.reshape(y, (*keras.ops.shape(y)[:-2], size))


def _add_rule(layer: Any, config: CompacterConfig, name: str, seed: int) -> Callable[[], Any]:
    """Makes the variables of A in a layer; returns what gives A."""
    n = config.phm_dim

    def add(name: str, shape: tuple[int, ...]) -> Any:
        start = keras.initializers.RandomNormal(
            stddev=config.phm_init_range, seed=derive_seed(seed, name)
        )
        return layer.add_weight(shape, start, trainable=config.learn_phm, name=name)

    if not config.factorized_phm_rule:
        return partial(keras.ops.convert_to_tensor, add(name, (n, n, n)))
    left, right = add(f"{name}_left", (n, n, 1)), add(f"{name}_right", (n, 1, n))
    return lambda: keras.ops.matmul(left, right)
