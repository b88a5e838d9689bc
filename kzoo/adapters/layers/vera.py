"""The VeRA layer and the random matrices its places share; see `kzoo.adapters.methods.vera`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras

from kzoo.adapters.config import Building
from kzoo.adapters.layers.delta import DeltaLayer
from kzoo.adapters.methods.vera import VeraConfig
from kzoo.backbones.places import Place
from kzoo.seeds import derive_seed


class VeraProjections(keras.layers.Layer):  # type: ignore[misc]
    """The frozen random matrices, uniform after Kaiming (section 3.3 of the paper).

    Variables: `vera_a` (widest in, r), `vera_b` (r, widest out), both not trainable.

    Args:
        config: The configuration.
        places: Where the adapter stands.
        name: The adapter's name.
        seed: Decides the values.
    """

    def __init__(self, config: VeraConfig, places: Sequence[Place], name: str, seed: int) -> None:
        super().__init__(name=name, dtype=places[0].layer.dtype_policy)
        widest_in = max(place.size_in for place in places)
        widest_out = max(place.size_out for place in places)
        self.vera_a = self._random("vera_a", (widest_in, config.r), seed)
        self.vera_b = self._random("vera_b", (config.r, widest_out), seed)
        self.built = True

    def _random(self, name: str, shape: tuple[int, int], seed: int) -> Any:
        limit = math.sqrt(6 / shape[0])
        initializer = keras.initializers.RandomUniform(-limit, limit, seed=derive_seed(seed, name))
        return self.add_weight(shape, initializer, trainable=False, name=name)


class VeraLayer(DeltaLayer):
    """y = inner(x) + b * ((d * (x A)) B).

    Variables: `vera_lambda_d` (r,), `vera_lambda_b` (out,); the matrices are shared.
    """

    def __init__(self, config: VeraConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        self.shared = building.shared
        start = keras.initializers.Constant(config.d_initial)
        self.vera_lambda_d = self.add_weight((config.r,), start, name="vera_lambda_d")
        self.vera_lambda_b = self.add_weight(
            (self.projection.size_out,), "zeros", name="vera_lambda_b"
        )
        rate = config.dropout
        self.dropout = keras.layers.Dropout(rate, seed=self.seed) if rate else None

    def matrices(self) -> tuple[Any, Any]:
        """A (in, r) and B (r, out) as far as this place needs them."""
        a = self.shared.vera_a[: self.projection.size_in]
        return a, self.shared.vera_b[:, : self.projection.size_out]

    def delta(self) -> Any:
        """The matrix that is added, (in, out)."""
        a, b = self.matrices()
        return keras.ops.matmul(a * self.vera_lambda_d, b) * self.vera_lambda_b

    def update(self, flat: Any) -> Any:
        """Three products of a token's features with narrow things: (..., out)."""
        a, b = self.matrices()
        if self.dropout is not None:
            flat = self.dropout(flat)
        narrow = keras.ops.matmul(flat, a) * self.vera_lambda_d
        return keras.ops.matmul(narrow, b) * self.vera_lambda_b
