"""Folding adapters into the sublayers' own weights, and taking them out again bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.acting.composition import Stack, names_in
from kzoo.adapters.layers.base import AdapterLayer
from kzoo.errors import AdapterError
from kzoo.keras_internals import is_quantized, runs_backwards


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

    def put_in(self, name: str, layers: Iterable[AdapterLayer], table_is_output: bool) -> None:
        """Folds an adapter in, around those that are folded in already.

        Args:
            name: The adapter.
            layers: Its layers.
            table_is_output: Whether a tied embedding's table is the output matrix of a head.

        Raises:
            AdapterError: It is folded in already, the method is no linear change, a number is not
                finite, it reads weights that an earlier one has changed, or a layer whose weights
                are used twice would change where the adapter does not act. Nothing has changed
                then.
        """
        if name in self._kept:
            raise AdapterError(f"`{name}` is merged already.")
        layers = list(layers)
        changed = {id(variable) for kept in self._kept.values() for variable, _ in kept}
        for layer in layers:
            layer.check_finite()
            if not layer.mergeable:
                layer.merged()  # says why
            at = layer.place.layer
            if is_quantized(at):
                raise AdapterError(
                    f"`{name}` at {layer.place.key} cannot be merged: the layer is quantised to "
                    f"{at.quantization_mode}, whose steps are coarser than what an adapter adds. "
                    "Merge before quantising, or leave the adapter beside the layer."
                )
            tied = getattr(at, "tie_weights", False) and not hasattr(layer, "apply_reverse")
            if tied and (table_is_output or runs_backwards(at)):
                raise AdapterError(
                    f"`{name}` at {layer.place.key} cannot be merged: the model's output matrix is "
                    "the same table, and the adapter acts on the input only."
                )
            if layer.reads_weights and (changed & {id(None), *map(id, at.weights)}):
                raise AdapterError(
                    f"`{name}` at {layer.place.key} cannot be merged over {list(self._kept)}: what "
                    "it computes depends on the weights that were changed. Merge it first, or "
                    "unmerge the others."
                )
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

    def take_out(self, name: str, variables: Iterable[Any]) -> None:
        """Restores what an adapter has overwritten.

        Args:
            name: The adapter.
            variables: The trunk's, now.

        Raises:
            AdapterError: It is not folded in, another one was folded in over it, or the trunk has
                been quantised since.
        """
        if name not in self._kept:
            raise AdapterError(f"`name` {name!r} is not merged. Merged: {list(self._kept)}")
        later = list(self._kept)[list(self._kept).index(name) + 1 :]
        current = {id(variable) for variable in variables}
        mine = {id(variable) for variable, _ in self._kept[name]}
        if any(v is not None and id(v) not in current for v, _ in self._kept[name]):
            raise AdapterError(
                f"`name` {name!r} was merged before the trunk was quantised; the weights it was "
                "merged into are gone. Load the trunk anew and the adapter from its folder."
            )
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

    def before(self, name: str | None, variable: Any) -> Any:
        """A variable's value before an adapter was folded in; now, where it is not."""
        names = list(self._kept)
        for later in names[names.index(name) :] if name in self._kept else ():
            for other, value in self._kept[later]:
                if other is variable and value is not None:
                    return value
        return variable


def check_alone(name: str, active: Any, layers: Callable[[str], Iterable[AdapterLayer]]) -> None:
    """Refuses to fold in one of several adapters that act, where the others would then act anew.

    The one that is folded in becomes the innermost. In a stack that is the same where it was so
    before, or where it and those below it only add, and where none of the others reads weights.

    Args:
        name: Which is to be folded in.
        active: What acts.
        layers: The layers of an adapter.

    Raises:
        AdapterError: Says which composition is in the way.
    """
    names = names_in(active)
    if name not in names or len(names) == 1:
        return
    others = names[: names.index(name)]
    inside = {layer.place.key: layer for layer in layers(name)}

    def meet(those: Iterable[str]) -> Iterator[AdapterLayer]:
        return (o for other in those for o in layers(other) if o.place.key in inside)

    plain = isinstance(active, Stack) and tuple(names) == tuple(active.children)
    below = all(o.adds and inside[o.place.key].adds for o in meet(others))
    reads = any(o.reads_weights for o in meet(n for n in names if n != name))
    if not plain or not below or reads:
        raise AdapterError(
            f"`{name}` acts in {type(active).__name__}({', '.join(names)}): merged, it would be "
            "the innermost, and the outputs would change. Activate it alone first: "
            f"activate({name!r})."
        )
