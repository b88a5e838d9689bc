"""The layers of AdaLoRA and VeRA; formulas in `kzoo.adapters.methods.lora_variants`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import with_float32_variables
from kzoo.adapters.layers.delta import DeltaLayer
from kzoo.adapters.methods.lora_variants import AdaloraConfig, VeraConfig
from kzoo.backbones.places import Place
from kzoo.seeds import derive_seed


class PlaceCount(keras.layers.Layer):  # type: ignore[misc]
    """Tells the layers of one adapter how many they are; without variables.

    Args:
        config: The configuration.
        places: Where the adapter stands.
        name: The adapter's name.
        seed: Nothing here is random.
    """

    def __init__(
        self, config: AdaloraConfig, places: Sequence[Place], name: str, seed: int
    ) -> None:
        super().__init__(name=name)
        self.number = len(places)
        self.built = True


class AdaloraLayer(DeltaLayer):
    """y = inner(x) + s ((x A) * E) B.

    Variables: `lora_a` (in, r), `lora_e` (r,), `lora_b` (r, out), and the frozen `rank_mask` (r,)
    of ones and zeros: triplets that were removed for good, here and in saved files.
    """

    row_wise = True

    def __init__(self, config: AdaloraConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        r, size_in, size_out = config.init_r, self.projection.size_in, self.projection.size_out
        # The mean runs over the two matrices of all places.
        weight = config.orth_reg_weight / (2 * building.shared.number)

        def made(name: str, shape: tuple[int, int], axis: int) -> Any:
            seed = derive_seed(self.seed, name)
            return self.add_weight(
                shape,
                keras.initializers.RandomNormal(stddev=0.02, seed=seed),
                regularizer=Orthogonality(weight, axis) if weight else None,
                name=name,
            )

        self.lora_a = made("lora_a", (size_in, r), 1)
        self.lora_e = self.add_weight((r,), "zeros", name="lora_e")
        self.lora_b = made("lora_b", (r, size_out), 0)
        self.rank_mask = self.add_weight((r,), "ones", trainable=False, name="rank_mask")

    def delta(self) -> Any:
        """The matrix that is added, (in, out)."""
        values = self.lora_e * self.rank_mask * self.config.scaling
        return keras.ops.matmul(self.lora_a * values, self.lora_b)

    def update(self, flat: Any) -> Any:
        """Two narrow products: (..., out)."""
        values = self.lora_e * self.rank_mask * self.config.scaling
        narrow = keras.ops.matmul(self.dropped(flat), self.lora_a) * values
        return keras.ops.matmul(narrow, self.lora_b)


class Orthogonality(keras.regularizers.Regularizer):  # type: ignore[misc]
    """weight * ||M M^T - I||, for rows of M along `axis`.

    Args:
        weight: What the norm is multiplied by.
        axis: 0 where the rows of the matrix should be orthogonal, 1 where its columns.
    """

    def __init__(self, weight: float, axis: int) -> None:
        self.weight = weight
        self.axis = axis

    def __call__(self, x: Any) -> Any:
        """The penalty of one matrix, a scalar."""
        turned = keras.ops.transpose(x)
        product = keras.ops.matmul(x, turned) if self.axis == 0 else keras.ops.matmul(turned, x)
        error = product - keras.ops.eye(product.shape[0], dtype=product.dtype)
        # The root has no gradient at zero.
        return self.weight * keras.ops.sqrt(keras.ops.sum(keras.ops.square(error)) + 1e-12)

    def get_config(self) -> dict[str, Any]:
        """Both numbers."""
        return {"weight": self.weight, "axis": self.axis}


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
        super().__init__(name=name, dtype=with_float32_variables(places[0]))
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
        narrow = keras.ops.matmul(self.dropped(flat), a) * self.vera_lambda_d
        return keras.ops.matmul(narrow, b) * self.vera_lambda_b
