"""A clock of training: seconds on the wall, and seconds of all cores together."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


class Clock:
    """Starts when made; told of every step and epoch, and stopped at the end.

    Seconds of all cores (CPU seconds of the process) say less about waiting, but also count less
    of what other programs do meanwhile.
    """

    def __init__(self) -> None:
        self._start = _now()
        self._steps: list[tuple[float, float]] = []
        self._epochs: list[tuple[float, float]] = []

    def step(self) -> None:
        """A step ended."""
        self._steps.append(_now())

    def epoch(self) -> None:
        """An epoch ended."""
        self._epochs.append(_now())

    def stop(self) -> dict[str, float | None]:
        """Seconds of first_step, first_epoch, later_epochs (mean) and total, and cpu_... of each.

        The first step and epoch include everything since the clock was made: tokenising, tracing,
        compiling.
        """
        end = _now()
        found: dict[str, float | None] = {"steps": float(len(self._steps))}
        for i, prefix in enumerate(("", "cpu_")):
            start, epochs = self._start[i], [epoch[i] for epoch in self._epochs]
            later = (epochs[-1] - epochs[0]) / (len(epochs) - 1) if len(epochs) > 1 else None
            found |= {
                f"{prefix}first_step": self._steps[0][i] - start,
                f"{prefix}first_epoch": epochs[0] - start,
                f"{prefix}later_epochs": later,
                f"{prefix}total": end[i] - start,
            }
        return found


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def first_prefill_decode(
    call: Callable[[int], tuple[float, float, list[str]]], new_tokens: int
) -> dict[str, Any]:
    """Seconds of a generator: its first call, then warm ones.

    Args:
        call: So many new tokens -> wall and CPU seconds, and the texts.
        new_tokens: Of the long call; one new token is the prefill, the rest is decoding.
    """
    first, one, many = call(1), call(1), call(new_tokens)
    return {
        "first": first[0],
        "prefill": one[0],
        "prefill_cpu": one[1],
        "decode": many[0] - one[0],
        "decode_cpu": many[1] - one[1],
        "text": many[2][0],
    }
