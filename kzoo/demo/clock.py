"""Steps with a title and a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


class Clock:
    """Announces each step and takes its time.

    Args:
        console: Where to.
        steps: How many there will be.
    """

    def __init__(self, console: Console, steps: int) -> None:
        self._console = console
        self._steps = steps
        self._began = time.perf_counter()
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._began

    @contextmanager
    def step(self, key: str, title: str) -> Iterator[None]:
        """Times a block under `key`, in seconds of the wall clock and of all cores together.

        Args:
            key: Name in `seconds` and `cpu_seconds`.
            title: What people read.
        """
        number = len(self.seconds) + 1
        self._console.print()
        self._console.rule(f"[bold]{number}/{self._steps}  {title}", align="left")
        began, worked = time.perf_counter(), time.process_time()
        yield
        self.seconds[key] = round(time.perf_counter() - began, 2)
        self.cpu_seconds[key] = round(time.process_time() - worked, 2)
        self._console.print(
            f"[dim]{self.seconds[key]:.1f} s, {clock_time(self.elapsed)} since the start[/]"
        )


def clock_time(seconds: float) -> str:
    """Such as `3:07`."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
