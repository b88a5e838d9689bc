"""Base of the layers that add a matrix to a projection's, and what they share."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import AdapterLayer, Function
from kzoo.adapters.layers.projection import Projection
from kzoo.backbones.places import Place


def uniform(fan_in: int, seed: int) -> Any:
    """Kaiming's uniform initializer with a = sqrt(5), torch's and PEFT's: +-1 / sqrt(fan_in)."""
    limit = 1 / math.sqrt(fan_in)
    return keras.initializers.RandomUniform(-limit, limit, seed=seed)


def numbers(value: Any) -> NDArray[np.float32]:
    """A tensor or variable of any float type as float32."""
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(value, "float32")))


class DeltaLayer(AdapterLayer):
    """y = inner(x) + x D, on the flattened projection, with a matrix D (in, out).

    Subclasses give `delta`, and `update` where x D can be had without forming D.
    """

    mergeable = True

    def __init__(self, config: Any, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        self.projection = Projection(place.layer)
        self.seed = building.seed_at(place)

    def delta(self) -> Any:
        """D as a tensor (in, out)."""
        raise NotImplementedError

    def update(self, flat: Any) -> Any:
        """The product x D for x of shape (..., in)."""
        return keras.ops.matmul(flat, self.delta())

    def apply(self, inner: Function, x: Any) -> Any:
        """See the class."""
        flat = self.projection.flatten_input(x)
        return inner(x) + self.projection.unflatten_output(self.update(flat))

    def merged(self) -> list[tuple[Any, NDArray[Any]]]:
        """W + D."""
        matrix = numbers(self.projection.matrix()) + numbers(self.delta())
        return [(self.projection.kernel, self.projection.kernel_from(matrix))]


class KeepMask(keras.layers.Layer):  # type: ignore[misc]
    """Zeros with probability `rate` while training, ones otherwise; nothing is scaled up.

    Args:
        rate: Share of zeros.
        seed: Decides which.
    """

    def __init__(self, rate: float, seed: int) -> None:
        super().__init__()
        self.rate = rate
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.built = True

    def call(self, ones: Any, training: bool = False) -> Any:
        """A mask of the shape and type of `ones`."""
        if not training or not self.rate:
            return ones
        drawn = keras.random.uniform(keras.ops.shape(ones), seed=self.seed_generator)
        return keras.ops.cast(drawn >= self.rate, ones.dtype)
