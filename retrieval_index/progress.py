"""A progress line for long work on an index."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Self


class TerminalBar:
    """A bar of rich while its `with` block runs, if standard error is a terminal.

    Args:
        enabled: False shows nothing, whatever standard error is.
        total: Steps there will be; None where nobody knows yet.
        description: What is being done.
    """

    def __init__(self, enabled: bool, total: int | None, description: str) -> None:
        self._enabled = enabled and sys.stderr is not None and sys.stderr.isatty()
        self._total = total
        self._description = description
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if self._enabled:
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(*self._columns(), console=Console(stderr=True))
            self._bar.start()
            self._task = self._bar.add_task(self._description, total=self._total, **self._fields())
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _columns(self) -> Sequence[Any]:
        """Returns rich's columns."""
        raise NotImplementedError

    def _fields(self) -> dict[str, Any]:
        """Returns what the columns show besides rich's own fields, at the beginning."""
        return {}


class BuildProgress(TerminalBar):
    """Shows documents, passages and units a second on standard error, if that is a terminal.

    Args:
        enabled: False shows nothing, whatever standard error is.
        total: Passages there will be, where that is known.
        fraction: Returns the share of the corpus that was read, or None where nobody knows; gives
            a bar and the time left, as `total` does.
    """

    def __init__(
        self,
        enabled: bool = True,
        total: int | None = None,
        fraction: Callable[[], float | None] | None = None,
    ) -> None:
        super().__init__(enabled, total, "indexing")
        self._fraction = fraction
        self._cut = 0
        self._documents = 0
        self._units = 0

    def _columns(self) -> Sequence[Any]:
        from rich.progress import (
            BarColumn,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        return (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[documents]} documents"),
            TextColumn("{task.fields[passages]} passages"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )

    def _fields(self) -> dict[str, Any]:
        return {"documents": 0, "passages": 0, "rate": ""}

    def document(self) -> None:
        """Counts a document; shown with the next passages."""
        self._documents += 1

    def cut(self, count: int) -> None:
        """Counts passages that were cut, and wait for their vectors."""
        self._cut += count

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
            total=self._expected(),
            documents=self._documents,
            passages=int(task.completed) + count,
            rate=f"{self._units / elapsed:,.0f} units/s" if self._units else "",
        )

    def _expected(self) -> int | None:
        """Passages there will be, if the rest of the corpus is like what was read of it."""
        fraction = self._fraction() if self._fraction is not None else None
        return round(self._cut / fraction) if fraction else self._total

    def stage(self, description: str) -> None:
        """Says what is being done now."""
        if self._bar is not None:
            self._bar.update(self._task, description=description)
