"""The owner of a model's adapters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kzoo.keras_internals import unlocked, untrack


class AdapterStore(keras.layers.Layer):  # type: ignore[misc]
    """Owns the layers of all adapters of one model, so that Keras trains and saves them."""

    def __init__(self) -> None:
        super().__init__(name="adapters")
        self.held: dict[str, _Held] = {}
        self.built = True

    def put(self, name: str, layers: Sequence[Any]) -> None:
        """Takes the layers of a new adapter."""
        with unlocked(self):
            self.held[name] = _Held(name, layers)

    def drop(self, name: str) -> None:
        """Lets an adapter go."""
        with unlocked(self):
            untrack(self, self.held.pop(name))


class _Held(keras.layers.Layer):  # type: ignore[misc]
    def __init__(self, name: str, layers: Sequence[Any]) -> None:
        super().__init__(name=name)
        self.parts = list(layers)
        self.built = True
