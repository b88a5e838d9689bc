"""The AdaLoRA layer; formulas in `kzoo.adapters.methods.adalora`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kzoo.adapters.config import Building
from kzoo.adapters.layers.delta import DeltaLayer
from kzoo.adapters.methods.adalora import AdaloraConfig
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
        rate = config.dropout
        self.dropout = keras.layers.Dropout(rate, seed=self.seed) if rate else None

    def delta(self) -> Any:
        """The matrix that is added, (in, out)."""
        values = self.lora_e * self.rank_mask * self.config.scaling
        return keras.ops.matmul(self.lora_a * values, self.lora_b)

    def update(self, flat: Any) -> Any:
        """Two narrow products: (..., out)."""
        if self.dropout is not None:
            flat = self.dropout(flat)
        values = self.lora_e * self.rank_mask * self.config.scaling
        return keras.ops.matmul(keras.ops.matmul(flat, self.lora_a) * values, self.lora_b)


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
