"""Hidden states and attention scores of a trunk, read while it runs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kzoo.backbones.families import Family
from kzoo.errors import WeightsError
from kzoo.trunk.capture import Call, Spot, watched


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
