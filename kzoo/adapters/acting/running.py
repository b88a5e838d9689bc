"""Runs a composition at one sublayer; what each block means stands in `composition.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import keras

from kzoo.adapters.acting.composition import (
    Average,
    BatchSplit,
    Block,
    Fuse,
    Parallel,
    PerRow,
    Split,
    Stack,
)
from kzoo.adapters.acting.rows import RowIds, by_row, once
from kzoo.adapters.layers.base import AdapterLayer, Function
from kzoo.errors import AdapterError

Layers = Mapping[str, Sequence[AdapterLayer]]


def around(node: str | Block, layers: Layers, inner: Function, ids: RowIds) -> Function:
    """The function `inner` with a composition around it.

    Args:
        node: A name or a block.
        layers: Name -> what that adapter has at this sublayer; names without any are identities.
        inner: What stands below.
        ids: Which row of the batch has which adapter, for `PerRow` and `Parallel`.
    """
    if isinstance(node, str):
        for layer in layers.get(node, ()):
            inner = partial(layer.apply, inner)
        return inner
    if not any(layers.get(name) for name in node.names()):
        return inner
    if isinstance(node, Stack):
        steps = _before_norm(node, layers)
        if steps is not None:
            return lambda x: inner(_through(steps, inner, x))
        for child in node.children:
            inner = around(child, layers, inner, ids)
        return inner
    if isinstance(node, (PerRow, Parallel)):
        return by_row(node.children, layers, inner, ids, around)
    if isinstance(node, Fuse):
        return _fused(node, layers, inner)
    inner = once(inner)
    functions = [around(child, layers, inner, ids) for child in node.children]
    if isinstance(node, Average):
        return lambda x: _weighted(node.shares(), [function(x) for function in functions])
    if isinstance(node, Split):
        return lambda x: _sliced(functions, node.splits, x, axis=1)
    assert isinstance(node, BatchSplit)
    return lambda x: _sliced(functions, node.batch_sizes, x, axis=0)


Step = Callable[[Function, Any], Any]  # (norm, its input) to another input


def _before_norm(node: str | Block, layers: Layers) -> list[Step] | None:
    """What a stack does to the input of a norm, if all of it is norm(something).

    Such adapters share the norm: norm(t_b(t_a(x))). One around the other, b would run a's part
    twice.
    """
    if not any(layers.get(name) for name in ([node] if isinstance(node, str) else node.names())):
        return []
    if isinstance(node, Stack):
        steps = [_before_norm(child, layers) for child in node.children]
        return None if None in steps else [step for own in steps for step in own or ()]
    names = [node] if isinstance(node, str) else node.children
    own: list[Any] = [layer for name in names for layer in layers.get(name, ())]
    if not all(getattr(layer, "precedes_norm", False) for layer in own):
        return None
    if isinstance(node, str):
        return [partial(_added, [layer], None) for layer in own]
    if isinstance(node, Fuse) and layers.get(node.fusion):
        return [partial(_added, own, layers[node.fusion][0])]
    return None


def _through(steps: Sequence[Step], norm: Function, x: Any) -> Any:
    for step in steps:
        x = step(norm, x)
    return x


def _added(children: Sequence[Any], fusion: Any, norm: Function, x: Any) -> Any:
    """The sum that one bottleneck, or several under a fusion, hand to the norm."""
    first = children[0]
    opened = first.open(norm, x)
    deltas = [child.delta(opened.u) for child in children]
    return first.added(opened, fusion.fuse(opened.u, deltas) if fusion else deltas[0])


def _fused(node: Fuse, layers: Layers, inner: Function) -> Function:
    if not layers.get(node.fusion):
        # Where the fusion does not stand, its adapters have at most weightless taps.
        for name in node.children:
            inner = around(name, layers, inner, RowIds())
        return inner
    (fusion,) = cast(Any, layers[node.fusion])
    children: list[Any] = [layers[name][0] for name in node.children]

    def function(x: Any) -> Any:
        opened = children[0].open(inner, x)
        added = [child.delta(opened.u) for child in children]
        return children[0].close(opened, fusion.fuse(opened.u, added))

    return function


def _weighted(weights: Sequence[float], outputs: Sequence[Any]) -> Any:
    def mean(*values: Any) -> Any:
        # Attention scores that nobody asked for, or that a prefix has made wider in one child.
        if any(value is None for value in values) or _widths(values) > 1:
            return None
        return sum(weight * value for weight, value in zip(weights, values, strict=True))

    return keras.tree.map_structure(mean, *outputs)


def _widths(values: Sequence[Any]) -> int:
    return len({value.shape[-1] for value in values})


def _sliced(functions: Sequence[Function], sizes: Sequence[int], x: Any, axis: int) -> Any:
    if axis == 1 and not hasattr(x, "shape"):
        raise AdapterError(
            "`Split` gives stretches of tokens to adapters and cannot hold one that acts inside "
            "of the attention (prefix tuning). Use BatchSplit or PerRow."
        )
    tensors = [t for t in keras.tree.flatten(x) if hasattr(t, "shape")]
    total = keras.ops.shape(tensors[0])[axis]
    starts, stops = _bounds(sizes, total)
    outputs = []
    for function, start, stop in zip(functions, starts, stops, strict=True):
        part = keras.tree.map_structure(partial(_slice, start=start, stop=stop, axis=axis), x)
        outputs.append(function(part))
    return keras.tree.map_structure(partial(_joined, axis=axis), *outputs)


def _joined(*values: Any, axis: int) -> Any:
    return None if values[0] is None else keras.ops.concatenate(values, axis=axis)


def _bounds(sizes: Sequence[int], total: Any) -> tuple[list[Any], list[Any]]:
    known = sum(size for size in sizes if size > 0)
    if isinstance(total, int) and (known > total or (-1 not in sizes and known != total)):
        raise AdapterError(
            f"The parts {list(sizes)} of the composition do not fill {total} tokens or rows. "
            "Use -1 for the part that takes what is left."
        )
    starts, stops, position = [], [], 0
    for size in sizes:
        starts.append(position)
        position = position + (total - known if size == -1 else size)
        stops.append(position)
    return starts, stops


def _slice(value: Any, start: Any, stop: Any, axis: int) -> Any:
    if not hasattr(value, "shape") or len(value.shape) <= axis or value.shape[axis] == 1:
        return value  # flags, and masks that hold for every row
    return value[start:stop] if axis == 0 else value[:, start:stop]
