"""Folding adapters into the sublayers' own weights, and taking them out again bit for bit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.layers.base import AdapterLayer
from kzoo.errors import AdapterError


class Folded:
    """The adapters of one model that are folded into its weights, the latest last.

    What a merge overwrites is kept, so that `take_out` restores the very bits: subtracting the
    update again would not.
    """

    def __init__(self) -> None:
        self._kept: dict[str, list[tuple[Any, NDArray[Any] | None]]] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._kept

    @property
    def names(self) -> tuple[str, ...]:
        """The folded adapters, in the order of merging."""
        return tuple(self._kept)

    def refuse(self, *names: str) -> None:
        """Refuses adapters that are folded in.

        Raises:
            AdapterError: One is.
        """
        for name in names:
            if name in self._kept:
                raise AdapterError(f"`{name}` is merged into the trunk. Unmerge it first.")

    def put_in(self, name: str, layers: Iterable[AdapterLayer]) -> None:
        """Folds an adapter in.

        Raises:
            AdapterError: It is folded in already, the method is no linear change, or a number is
                not finite. Nothing has changed then.
        """
        if name in self._kept:
            raise AdapterError(f"`{name}` is merged already.")
        layers = list(layers)
        for layer in layers:
            layer.check_finite()
            if not layer.mergeable:
                layer.merged()  # says why
        kept: list[tuple[Any, NDArray[Any] | None]] = []
        try:
            for layer in layers:
                for variable, value in layer.merged():
                    kept.append((variable, np.array(variable)))
                    variable.assign(value)
        except BaseException:
            for variable, value in reversed(kept):
                variable.assign(value)
            raise
        self._kept[name] = kept

    def take_out(self, name: str) -> None:
        """Restores what an adapter has overwritten.

        Raises:
            AdapterError: It is not folded in, or another one was folded in over it.
        """
        if name not in self._kept:
            raise AdapterError(f"`name` {name!r} is not merged. Merged: {list(self._kept)}")
        later = list(self._kept)[list(self._kept).index(name) + 1 :]
        mine = {id(variable) for variable, _ in self._kept[name]}
        over = [o for o in later if mine & {id(variable) for variable, _ in self._kept[o]}]
        if over:
            raise AdapterError(
                f"`name` {name!r} was merged before {over} into the same weights. Unmerge in the "
                "opposite order."
            )
        if any(value is None for _, value in self._kept[name]):
            raise AdapterError(
                f"`name` {name!r} was merged before the model was saved; the trunk's own weights "
                "are not in the file. Load the trunk anew and the adapter from its folder."
            )
        for variable, value in reversed(self._kept.pop(name)):
            variable.assign(value)

    def keep(self, name: str) -> None:
        """Makes a merge final: forgets what it has overwritten."""
        del self._kept[name]

    def mark(self, name: str) -> None:
        """Notes that an adapter was folded in before the model was saved."""
        self._kept[name] = [(None, None)]

    def original(self, variable: Any) -> Any:
        """A variable's value before any merge."""
        for kept in self._kept.values():
            for other, value in kept:
                if other is variable and value is not None:
                    return value
        return variable
