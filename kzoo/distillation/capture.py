"""Reading the outputs of inner layers during an ordinary forward pass.

A second functional model over the same layers would reach only the layers of the outermost graph,
never those of a nested backbone or inside an attention block. Here `layer.call` is stood in for
while a pass runs, so any layer of any model is reached, in that same pass.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from kzoo.distillation.errors import DistillationError

_LOCK = threading.Lock()
_OPEN: dict[int, int] = {}  # id of a tapped layer -> how many captures are open on it
_PRIOR: dict[int, Any] = {}  # id of a tapped layer -> the `call` somebody else had put on it


class _Frames(threading.local):
    """The captures open in this thread; tf.distribute runs every replica in its own thread."""

    def __init__(self) -> None:
        self.stack: list[dict[int, list[Any]]] = []


_FRAMES = _Frames()


@contextlib.contextmanager
def capture(layers: Mapping[str, Any]) -> Iterator[dict[str, list[Any]]]:
    """Records what the given layers return while the context is open.

    Args:
        layers: name -> `keras.Layer`; the names are the keys of the result.

    Yields:
        name -> list of outputs, one per call of that layer, in order.
    """
    outputs: dict[str, list[Any]] = {name: [] for name in layers}
    frame: dict[int, list[Any]] = {}
    for name, layer in layers.items():
        outputs[name] = frame.setdefault(id(layer), outputs[name])
    distinct = {id(layer): layer for layer in layers.values()}
    with _LOCK:
        for layer in distinct.values():
            _tap(layer)
    _FRAMES.stack.append(frame)
    try:
        yield outputs
    finally:
        _FRAMES.stack.pop()
        with _LOCK:
            for layer in distinct.values():
                _untap(layer)


def single(outputs: Mapping[str, list[Any]], name: str, role: str) -> Any:
    """The one tensor that the layer `name` returned.

    Raises:
        DistillationError: if the layer was not called once, or returned a structure.
    """
    calls = outputs[name]
    if len(calls) != 1:
        raise DistillationError(
            f"`{role}_layer_name`: layer {name!r} was called {len(calls)} times in one pass of the "
            f"{role}; only the output of a layer that is called once is defined."
        )
    if isinstance(calls[0], (list, tuple, dict)):
        raise DistillationError(
            f"`{role}_layer_name`: layer {name!r} returns a {type(calls[0]).__name__} of "
            f"{len(calls[0])}; name a layer that returns one tensor."
        )
    return calls[0]


def _tap(layer: Any) -> None:
    _OPEN[id(layer)] = _OPEN.get(id(layer), 0) + 1
    if _OPEN[id(layer)] > 1:
        return
    original = layer.call

    def call(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        for frame in _FRAMES.stack:
            if id(layer) in frame:
                frame[id(layer)].append(result)
        return result

    if "call" in layer.__dict__:
        _PRIOR[id(layer)] = original
    # Past Keras' attribute tracking: an instance attribute, gone again when the pass ends.
    layer.__dict__["call"] = call


def _untap(layer: Any) -> None:
    _OPEN[id(layer)] -= 1
    if not _OPEN[id(layer)]:
        del _OPEN[id(layer)]
        del layer.__dict__["call"]
        if id(layer) in _PRIOR:
            layer.__dict__["call"] = _PRIOR.pop(id(layer))
