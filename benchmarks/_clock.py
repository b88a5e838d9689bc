"""A clock of training: seconds on the wall, and seconds of all cores together."""

from __future__ import annotations

import time


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
