"""The arguments of a host's method by name, and the layers that change its positions."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import AdapterLayer, Function
from kzoo.backbones.places import Place


def bind(place: Place, call: tuple[Any, Any]) -> inspect.BoundArguments:
    """Binds `(args, kwargs)` to the parameters of the method that the place names.

    Returns:
        The arguments with defaults filled in; `arguments` may be changed, and `(args, kwargs)`
        call the method.
    """
    signature = inspect.signature(getattr(type(place.layer), place.method))
    _, *parameters = signature.parameters.values()  # without self
    bound = signature.replace(parameters=parameters).bind(*call[0], **call[1])
    bound.apply_defaults()
    return bound


def first_of(arguments: dict[str, Any], *names: str) -> str:
    """The first of some names that the method has as a parameter."""
    return next(name for name in names if name in arguments)


class ShiftedPositions(AdapterLayer):
    """Counts positions from P instead of 0, as if P tokens stood in front of the input.

    Attributes:
        used_positions: P; so many tokens fewer fit into the input.
    """

    def __init__(self, config: Any, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        self.used_positions = int(config.num_virtual_tokens)

    def apply(self, inner: Function, x: Any) -> Any:
        """x: `(args, kwargs)` of the position embedding."""
        call = bind(self.place, x)
        positions = call.arguments.get("positions")
        if positions is not None:
            call.arguments["positions"] = positions + self.used_positions
        else:
            call.arguments["start_index"] = call.arguments["start_index"] + self.used_positions
        return inner((call.args, call.kwargs))


class SkippedPositions(AdapterLayer):
    """Gives the real tokens the positions that they have without the virtual ones among them."""

    def __init__(self, config: Any, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)

    def apply(self, inner: Function, x: Any) -> Any:
        """x: `(args, kwargs)` of a table of positions, for (rows, tokens, width)."""
        call = bind(self.place, x)
        index = keras.ops.arange(keras.ops.shape(call.arguments["inputs"])[1])
        first = self.config.first_row
        behind = keras.ops.maximum(index - self.config.num_virtual_tokens, 0)
        call.arguments["positions"] = keras.ops.where(index < first, index, behind)
        return inner((call.args, call.kwargs))
