"""A different adapter for every row of a batch, without a loop where the adapters are alike.

Alike are adapters of one configuration: their variables are stacked, each row gathers its own, and
the layer computes once with batched matrices. This compiles under XLA, and its cost hardly grows
with the number of adapters. Others are computed one by one and selected.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MethodType
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.acting.composition import Block, Parallel, PerRow
from kzoo.adapters.layers.base import AdapterLayer, Function
from kzoo.errors import AdapterError, InputError, did_you_mean

BASE = "__base__"  # the name of no adapter, as HF PEFT writes it
ROW_INPUT = "adapter_ids"  # the model's extra input


class RowIds(threading.local):
    """Which child of the composition each row of the running batch belongs to.

    Each thread has its own: the replicas of a strategy, and the requests that a server answers.

    Attributes:
        value: int32 (rows,), -1 for no adapter; None while nothing runs.
    """

    def __init__(self) -> None:
        self.value: Any = None

    @contextmanager
    def during(self, ids: Any) -> Iterator[None]:
        """Sets the ids while a model runs, or is traced."""
        before, self.value = self.value, ids
        try:
            yield
        finally:
            self.value = before


def row_ids(composition: Any, names: Sequence[str], rows: int) -> NDArray[np.int32]:
    """The model's extra input: each row's child in the composition.

    Args:
        composition: The active one.
        names: A name for each row: a child's (`a+b` for a block of a and b), or `__base__`.
        rows: How many there are.

    Returns:
        int32 (rows,), -1 for no adapter.

    Raises:
        InputError: Another composition than `PerRow`, an unknown name, or too few of them.
    """
    if not isinstance(composition, PerRow):
        raise InputError(
            "`adapter_names` needs the composition kzoo.PerRow. "
            "Run: model.adapters.activate(kzoo.PerRow('a', 'b'))"
        )
    if isinstance(names, str) or len(names) != rows:
        raise InputError(f"`adapter_names` must be a list of {rows} names, one a row.")
    children = ["+".join(c.names()) if isinstance(c, Block) else c for c in composition.children]
    numbers = {BASE: -1, **{name: number for number, name in enumerate(children)}}
    if unknown := [name for name in names if name not in numbers]:
        raise InputError(
            f"`adapter_names` has {unknown[0]!r}, which is not in the active PerRow."
            f"{did_you_mean(unknown[0], numbers)}"
        )
    return np.asarray([numbers[name] for name in names], "int32")


def every_child(composition: Parallel, inputs: Any) -> tuple[Any, Any]:
    """Inputs repeated for each child of a `Parallel`, one child after the other, and their ids."""
    children = len(composition.children)
    rows = keras.ops.shape(keras.tree.flatten(inputs)[0])[0]
    repeated = keras.tree.map_structure(
        lambda x: keras.ops.concatenate([x] * children, axis=0), inputs
    )
    return repeated, keras.ops.repeat(keras.ops.arange(children, dtype="int32"), rows)


def by_child(composition: Parallel, outputs: Any) -> Any:
    """(children * rows, ...) as (rows, children, ...)."""
    children = len(composition.children)

    def sorted_out(y: Any) -> Any:
        shape = (children, -1, *y.shape[1:])
        return keras.ops.swapaxes(keras.ops.reshape(y, shape), 0, 1)

    return keras.tree.map_structure(sorted_out, outputs)


def by_row(
    children: Sequence[Any],
    layers: Mapping[str, Sequence[AdapterLayer]],
    inner: Function,
    ids: RowIds,
    around: Callable[..., Function],
) -> Function:
    """Each row of x through its own child.

    Args:
        children: Names or blocks.
        layers: Name -> layers at this sublayer.
        inner: What stands below.
        ids: Filled while a model runs.
        around: `running.around`.
    """
    if ids.value is None:  # not through kzoo.Model: nobody says which row is whose
        raise AdapterError(
            "PerRow and Parallel run in a kzoo.Model that is called as a whole. Models of "
            "kzoo.adapt, and parts of a model, take a name, Stack, Average or BatchSplit."
        )
    alike = _alike(children, layers)
    inner = once(inner)

    def function(x: Any) -> Any:
        if alike is not None and hasattr(x, "shape"):
            return _gathered(alike, ids.value, inner, x)
        y = inner(x)
        for number, child in enumerate(children):
            own = around(child, layers, inner, ids)(x)
            y = keras.tree.map_structure(
                lambda new, old, n=number: _select(ids.value, n, new, old), own, y
            )
        return y

    return function


def once(function: Function) -> Function:
    """Several children ask for the same sublayer output; it is computed once for each input."""
    known: list[tuple[Any, Any]] = []

    def remembered(x: Any) -> Any:
        for earlier, y in known:
            if earlier is x:
                return y
        y = function(x)
        known.append((x, y))
        return y

    return remembered


def _alike(
    children: Sequence[Any], layers: Mapping[str, Sequence[AdapterLayer]]
) -> list[AdapterLayer] | None:
    """One layer a child, when all are of one kind and size and say that they work by rows."""
    found = [layers.get(child, ()) if isinstance(child, str) else () for child in children]
    if any(len(own) != 1 for own in found):
        return None
    alike = [own[0] for own in found]
    first = alike[0]
    same = all(type(o) is type(first) and o.config == first.config for o in alike)
    return alike if same and first.row_wise else None


def _gathered(alike: Sequence[AdapterLayer], ids: Any, inner: Function, x: Any) -> Any:
    ops = keras.ops
    flat = len(x.shape) == 2  # no token axis: one token a row
    tensors = {}
    for name, variable in _variables(alike[0]).items():
        every = ops.concatenate([ops.expand_dims(_variables(o)[name], 0) for o in alike])
        own = ops.take(every, ops.maximum(ids, 0), axis=0)
        # A vector is added to (rows, tokens, n); a matrix multiplies rows by rows.
        tensors[name] = own if len(variable.shape) > 1 else ops.expand_dims(own, 1)
    view = _View(alike[0], tensors)
    wide = ops.expand_dims(x, 1) if flat else x
    y = view.apply(inner, wide)
    y = y[:, 0] if flat else y
    return _select(ids, None, y, inner(x))


def _variables(layer: AdapterLayer) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(layer).items()
        if isinstance(value, keras.Variable) and not name.startswith("_")
    }


def _select(ids: Any, number: int | None, new: Any, old: Any) -> Any:
    """New values in the rows of child `number` (of any child, for None), old ones elsewhere."""
    # Attention scores that nobody asked for, or that a prefix has made wider in some rows.
    if new is None or old is None or new.shape[-1] != old.shape[-1]:
        return None
    chosen = ids >= 0 if number is None else keras.ops.equal(ids, number)
    shape = (-1, *(1,) * (len(new.shape) - 1))
    return keras.ops.where(keras.ops.reshape(chosen, shape), new, old)


class _View:
    """A layer with other tensors in place of its variables; its methods run on the view."""

    def __init__(self, layer: AdapterLayer, tensors: Mapping[str, Any]) -> None:
        self._layer = layer
        self._tensors = tensors

    def __getattr__(self, name: str) -> Any:
        if name in self._tensors:
            return self._tensors[name]
        kind = getattr(type(self._layer), name, None)
        if callable(kind) and not isinstance(kind, type):
            return MethodType(kind, self)
        return getattr(self._layer, name)
