"""The classification head."""

from __future__ import annotations

from typing import Any

import keras


class ClassifierHead(keras.layers.Layer):  # type: ignore[misc]
    """One dense layer of float32 logits whose number of classes can still change.

    Variables: `kernel` (width, classes), `bias` (classes,).

    Args:
        units: Number of classes.
        seed: Decides the initial kernel.
    """

    def __init__(self, units: int, seed: int, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.units = units
        self.seed = seed

    def build(self, input_shape: Any) -> None:
        """Makes the variables."""
        self.width = int(input_shape[-1])
        self.kernel = self.add_weight(
            (self.width, self.units),
            keras.initializers.RandomNormal(stddev=0.02, seed=self.seed),
            name="kernel",
        )
        self.bias = self.add_weight((self.units,), "zeros", name="bias")

    def resize(self, units: int) -> None:
        """Starts anew with another number of classes."""
        self._tracker.unlock()
        for variable in (self.kernel, self.bias):
            self._tracker.untrack(variable)
        self.units = units
        self.build((None, self.width))
        self._tracker.lock()

    def call(self, x: Any) -> Any:
        """float (batch, width) to float32 (batch, classes)."""
        return keras.ops.matmul(x, self.kernel) + self.bias

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch, classes)."""
        return (input_shape[0], self.units)
