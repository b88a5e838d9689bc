"""The owner of a model's adapters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras


class AdapterStore(keras.layers.Layer):  # type: ignore[misc]
    """Owns the layers of all adapters of one model, so that Keras trains and saves them."""

    def __init__(self) -> None:
        super().__init__(name="adapters")
        self.held: dict[str, _Held] = {}
        self.built = True

    def put(self, name: str, layers: Sequence[Any]) -> None:
        """Takes the layers of a new adapter."""
        self._tracker.unlock()  # as Keras itself does where built layers grow
        self.held[name] = _Held(name, layers)
        self._tracker.lock()

    def drop(self, name: str) -> None:
        """Lets an adapter go."""
        self._tracker.unlock()
        self._tracker.untrack(self.held.pop(name))
        self._tracker.lock()


class _Held(keras.layers.Layer):  # type: ignore[misc]
    def __init__(self, name: str, layers: Sequence[Any]) -> None:
        super().__init__(name=name)
        self.parts = list(layers)
        self.built = True
