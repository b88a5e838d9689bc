"""The LoRA layer; formula in `kzoo.adapters.methods.lora`."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.config import Building
from kzoo.adapters.layers.projection import Projection
from kzoo.adapters.layers.site import AdapterLayer, Function
from kzoo.adapters.methods.lora import LoraConfig
from kzoo.backbones.places import Place


class LoraLayer(AdapterLayer):
    """y = inner(x) + (alpha / r) reshape(flatten(x) A B), never forming the full kernel.

    Variables: `lora_a` (in, r), `lora_b` (r, out), on the flattened projection.
    """

    mergeable = True

    def __init__(self, config: LoraConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        self.projection = Projection(place.layer)
        seed = building.seed_at(place)
        # PEFT's kaiming_uniform(a=sqrt(5)) on (r, in) is this uniform range.
        limit = 1 / math.sqrt(self.projection.size_in)
        self.lora_a = self.add_weight(
            (self.projection.size_in, config.r),
            keras.initializers.RandomUniform(-limit, limit, seed=seed),
            name="lora_a",
        )
        self.lora_b = self.add_weight((config.r, self.projection.size_out), "zeros", name="lora_b")
        self.dropout = keras.layers.Dropout(config.dropout, seed=seed) if config.dropout else None

    def update(self, x: Any) -> Any:
        """The low-rank part, flattened: (..., out)."""
        flat = self.projection.flatten_input(x)
        if self.dropout is not None:
            flat = self.dropout(flat)
        # Scaling the narrow middle costs r numbers a token instead of the output's width.
        narrow = keras.ops.matmul(flat, self.lora_a) * self.config.scaling
        return keras.ops.matmul(narrow, self.lora_b)

    def apply(self, inner: Function, x: Any) -> Any:
        """See the class."""
        return inner(x) + self.projection.unflatten_output(self.update(x))

    def merged(self) -> list[tuple[Any, NDArray[Any]]]:
        """W + (alpha / r) A B."""
        delta = self.config.scaling * (np.asarray(self.lora_a) @ np.asarray(self.lora_b))
        matrix = np.asarray(self.projection.matrix()) + delta
        return [(self.projection.kernel, self.projection.kernel_from(matrix))]
