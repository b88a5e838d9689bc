"""Watching layers at work: their calls in a pass, and the hidden states that a trunk gives."""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kzoo.backbones.families import Family
from kzoo.errors import WeightsError

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


class Observed:
    """What of a trunk's inside is returned beside its outputs.

    Args:
        backbone: A built KerasHub backbone.
        family: Its family.
        hidden_states: Return what enters the first block and what each block gives.
        attention_scores: Return the attention of each block.

    Raises:
        WeightsError: A family whose attention computes no scores that could be read.
    """

    def __init__(
        self, backbone: Any, family: Family, hidden_states: bool, attention_scores: bool
    ) -> None:
        self.hidden_states = hidden_states
        self.attention_scores = attention_scores
        self._spots: dict[str, Spot] = {}
        sides = [""] if len(family.stacks) == 1 else ["encoder_", ""]
        if hidden_states:
            for side, blocks in zip(sides, family.block_lists(backbone), strict=True):
                for number, block in enumerate(blocks):
                    self._spots[f"{side}hidden_states/{number}"] = Spot(block)
        if attention_scores:
            self._watch_attention(backbone, family, sides)

    def _watch_attention(self, backbone: Any, family: Family, sides: list[str]) -> None:
        if not family.attention_scores:
            raise WeightsError(
                f"`attention_scores`: the attention of {family.name} computes no scores that could "
                "be read. Families that do: see kzoo.backbones.families."
            )
        starts = ["blocks."] if len(sides) == 1 else ["encoder.", "decoder."]
        for place in family.places(backbone):
            if place.name == "attention":
                side = next(
                    s for s, start in zip(sides, starts, strict=True) if place.key.startswith(start)
                )
                spot = Spot(place.layer, place.method, _with_scores(place.layer, place.method))
                self._spots[f"{side}attention_scores/{place.block}"] = spot

    @contextmanager
    def during(self) -> Iterator[Seen]:
        """Watches one pass."""
        if not self._spots:
            yield Seen({})
            return
        with watched(self._spots) as calls:
            yield Seen(calls)


class Seen:
    """What was seen in one pass."""

    def __init__(self, calls: dict[str, list[Call]]) -> None:
        self._calls = calls

    def results(self) -> dict[str, list[Any]]:
        """Output name -> a tensor for each block, from the input upwards."""
        found: dict[str, list[Any]] = {}
        for name, calls in self._calls.items():
            kind = name.partition("/")[0]
            own = found.setdefault(kind, [])
            if kind.endswith("hidden_states"):
                if not own:
                    own.append(calls[0].first)
                own += [_first(call.result) for call in calls]
            else:
                own += [call.result[1] for call in calls]
        return found


def _first(result: Any) -> Any:
    """A block's hidden states; some blocks give a cache or position biases beside them."""
    return result[0] if isinstance(result, (tuple, list)) else result


def _with_scores(layer: Any, method: str) -> Any:
    """Asks an attention for its scores, which the fused kernels do not compute."""
    signature = inspect.signature(getattr(type(layer), method))

    def change(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        bound = signature.bind(layer, *args, **kwargs)
        bound.arguments["return_attention_scores"] = True
        return bound.args[1:], bound.kwargs

    return change
