"""The AdapterFusion layer; formula in `kzoo.adapters.methods.fusion`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import AdapterLayer, Function, dense, like
from kzoo.adapters.methods.fusion import FusionConfig
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError
from kzoo.seeds import derive_seed

OFF_DIAGONAL = 1e-6  # of V at the start, as in the authors' code


class FusionLayer(AdapterLayer):
    """Weights what several adapters add, token by token.

    Variables: `query_kernel` (H, H), `query_bias` (H,), `key_kernel`, `key_bias`, `value_kernel`.
    """

    def __init__(self, config: FusionConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        hidden, seed = place.size_out, building.seed_at(place)
        for name, wanted in (("query", config.query), ("key", config.key)):
            if wanted:
                start = keras.initializers.RandomNormal(stddev=0.02, seed=derive_seed(seed, name))
                kernel = self.add_weight((hidden, hidden), start, name=f"{name}_kernel")
                setattr(self, f"{name}_kernel", kernel)
                setattr(
                    self, f"{name}_bias", self.add_weight((hidden,), "zeros", name=f"{name}_bias")
                )
        if config.value:
            strength = config.regularization
            self.value_kernel = self.add_weight(
                (hidden, hidden),
                lambda shape, dtype: _near_identity(shape[0], dtype),
                regularizer=_FromIdentity(strength) if strength else None,
                name="value_kernel",
            )
        if config.dropout:
            self.dropout = keras.layers.Dropout(config.dropout, seed=derive_seed(seed, "dropout"))

    def weights_of(self, query: Any, outputs: Sequence[Any]) -> Any:
        """The softmax: (..., adapters), which sums to 1.

        Args:
            query: u, (..., H).
            outputs: One a_i for each adapter, (..., H).
        """
        ops, q = keras.ops, query
        if self.config.query:
            q = dense(q, self.query_kernel, self.query_bias)
        constant: Any = 0.0
        if self.config.key:
            # q . (K a + b) = (K^T q) . a + q . b: one product, however many adapters there are.
            constant = ops.sum(q * like(q, self.key_bias), axis=-1)
            q = ops.matmul(q, ops.transpose(like(q, self.key_kernel)))
        scores = ops.stack([ops.sum(q * a, axis=-1) + constant for a in outputs], axis=-1)
        if self.config.dropout:
            scores = self.dropout(scores)
        return ops.softmax(scores, axis=-1)

    def fuse(self, query: Any, outputs: Sequence[Any]) -> Any:
        """sum_i p_i V a_i; shape of query.

        Args:
            query: u, the adapters' input, (..., H).
            outputs: What each adapter adds, (..., H).
        """
        p = self.weights_of(query, outputs)
        fused = sum(p[..., number, None] * a for number, a in enumerate(outputs))
        if not self.config.value:
            return fused
        return keras.ops.matmul(fused, like(query, self.value_kernel))

    def apply(self, inner: Function, x: Any) -> Any:
        """A fusion has nothing to weight when it is activated by itself.

        Raises:
            AdapterError: Always.
        """
        raise AdapterError(
            "`fusion` is no adapter of its own: activate kzoo.Fuse('a', 'b'), which uses it."
        )


class _FromIdentity:
    """strength * sum (V - I)^2."""

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def __call__(self, kernel: Any) -> Any:
        distance = kernel - keras.ops.eye(kernel.shape[0], dtype=kernel.dtype)
        return self.strength * keras.ops.sum(keras.ops.square(distance))


def _near_identity(size: int, dtype: Any) -> Any:
    eye = keras.ops.eye(size, dtype=dtype)
    return eye + OFF_DIAGONAL * (1 - eye)
