"""Reading what inner layers take and give during an ordinary forward pass.

A second functional model over the same layers would reach only the layers of the outermost graph,
never those of a nested backbone or inside an attention block. Here a method of the layer is stood
in for while a pass runs, so any layer of any model is reached, in that same pass.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_LOCK = threading.Lock()
_OPEN: dict[tuple[int, str], int] = {}  # a tapped method -> how many captures are open on it
_PRIOR: dict[tuple[int, str], Any] = {}  # a tapped method -> what somebody else had put there


@dataclass(frozen=True)
class Spot:
    """A method of a layer whose calls are read.

    Args:
        layer: A Keras layer.
        method: Name of the method.
        change: Arguments before the call -> arguments of the call. The same for all who watch a
            method at a time.
    """

    layer: Any
    method: str = "call"
    change: Callable[[tuple[Any, ...], dict[str, Any]], Any] | None = None

    @property
    def key(self) -> tuple[int, str]:
        """What makes two spots the same."""
        return id(self.layer), self.method


@dataclass(frozen=True)
class Call:
    """One call of a method: what went in and what came out."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any

    @property
    def first(self) -> Any:
        """The first argument, however it was passed."""
        return self.args[0] if self.args else next(iter(self.kwargs.values()))


class _Frames(threading.local):
    """The captures open in this thread; tf.distribute runs every replica in its own thread."""

    def __init__(self) -> None:
        self.stack: list[dict[tuple[int, str], list[Call]]] = []


_FRAMES = _Frames()


@contextlib.contextmanager
def watched(spots: Mapping[str, Spot]) -> Iterator[dict[str, list[Call]]]:
    """Records the calls of the given methods while the context is open.

    Args:
        spots: name -> spot; the names are the keys of the result.

    Yields:
        name -> list of calls, in order; filled while the pass runs.
    """
    calls: dict[str, list[Call]] = {}
    frame: dict[tuple[int, str], list[Call]] = {}
    for name, spot in spots.items():
        calls[name] = frame.setdefault(spot.key, [])
    distinct = {spot.key: spot for spot in spots.values()}
    with _LOCK:
        for spot in distinct.values():
            _tap(spot)
    _FRAMES.stack.append(frame)
    try:
        yield calls
    finally:
        _FRAMES.stack.pop()
        with _LOCK:
            for spot in distinct.values():
                _untap(spot)


def _tap(spot: Spot) -> None:
    key = spot.key
    _OPEN[key] = _OPEN.get(key, 0) + 1
    if _OPEN[key] > 1:
        return
    original = getattr(spot.layer, spot.method)

    def call(*args: Any, **kwargs: Any) -> Any:
        if spot.change is not None:
            args, kwargs = spot.change(args, kwargs)
        result = original(*args, **kwargs)
        for frame in _FRAMES.stack:
            if key in frame:
                frame[key].append(Call(args, kwargs, result))
        return result

    if spot.method in spot.layer.__dict__:
        _PRIOR[key] = original
    # Past Keras' attribute tracking: an instance attribute, gone again when the pass ends.
    spot.layer.__dict__[spot.method] = call


def _untap(spot: Spot) -> None:
    key = spot.key
    _OPEN[key] -= 1
    if not _OPEN[key]:
        del _OPEN[key]
        del spot.layer.__dict__[spot.method]
        if key in _PRIOR:
            spot.layer.__dict__[spot.method] = _PRIOR.pop(key)
