"""A progress line for long work on an index."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any


class BuildProgress:
    """Shows documents, passages and units a second on standard error, if that is a terminal.

    Args:
        enabled: False shows nothing, whatever standard error is.
        total: Passages there will be, where that is known; gives a bar and the time left.
    """

    def __init__(self, enabled: bool = True, total: int | None = None) -> None:
        self._enabled = enabled and sys.stderr is not None and sys.stderr.isatty()
        self._total = total
        self._bar: Any = None
        self._task: Any = None
        self._documents = 0
        self._units = 0

    def __enter__(self) -> BuildProgress:
        if self._enabled:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                Progress,
                SpinnerColumn,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            # While a corpus is streamed, how much is still to come may be unknown: the share of
            # its bytes that was read is then the best guess, and without one there is no bar.
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                TextColumn("{task.fields[documents]} documents"),
                TextColumn("{task.fields[passages]} passages"),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._task = self._bar.add_task(
                "indexing", total=self._total, documents=0, passages=0, rate=""
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def document(self) -> None:
        """Counts a document; shown with the next passages."""
        self._documents += 1

    def passages(self, count: int, units: int = 0) -> None:
        """Counts passages whose vectors exist now, and the units (tokens, words) in them."""
        if self._bar is None:
            return
        self._units += units
        task = self._bar.tasks[0]
        elapsed = max(task.elapsed or 0.0, 1e-9)
        self._bar.update(
            self._task,
            advance=count,
            documents=self._documents,
            passages=int(task.completed) + count,
            rate=f"{self._units / elapsed:,.0f} units/s" if self._units else "",
        )

    def stage(self, description: str) -> None:
        """Says what is being done now."""
        if self._bar is not None:
            self._bar.update(self._task, description=description)
