"""A place where an adapter only looks at what goes in."""

from __future__ import annotations

import threading
from typing import Any

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import AdapterLayer, Function
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError


class Tap(AdapterLayer):
    """Changes nothing and has no variables: hands a sublayer's input to an adapter further on.

    Both stand in the same block, so that the tensor is used in the call that made it.
    """

    row_wise = True
    observes = True  # compositions have nothing to mix here

    def __init__(self, config: Any, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        self.memory = _Memory()

    def apply(self, inner: Function, x: Any) -> Any:
        """inner(x)."""
        self.memory.value = x
        return inner(x)

    def take(self) -> Any:
        """The input of the last call, once.

        Raises:
            AdapterError: The sublayer has not run.
        """
        value, self.memory.value = self.memory.value, None
        if value is None:
            raise AdapterError(
                f"`{self.config.method}` needs the input of {self.place.key}, which did not run."
            )
        return value


class _Memory(threading.local):  # one for each thread of tf.distribute or of a server
    value: Any = None
