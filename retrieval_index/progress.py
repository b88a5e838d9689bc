"""A progress line for a build."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any


class BuildProgress:
    """Shows documents, chunks and chunks a second on standard error, if that is a terminal.

    Args:
        enabled: False shows nothing, whatever standard error is.
    """

    def __init__(self, enabled: bool = True) -> None:
        self._enabled = enabled and sys.stderr is not None and sys.stderr.isatty()
        self._bar: Any = None
        self._task: Any = None
        self._documents = 0

    def __enter__(self) -> BuildProgress:
        if self._enabled:
            from rich.console import Console
            from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            # How much is still to come is unknown while a corpus is streamed, so there is no bar.
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                TextColumn("{task.fields[documents]} documents"),
                TextColumn("{task.completed:.0f} chunks"),
                TextColumn("{task.speed:.0f} chunks/s", table_column=None),
                TimeElapsedColumn(),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._task = self._bar.add_task("indexing", total=None, documents=0)
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
        """Counts a document; shown with the next chunks."""
        self._documents += 1

    def chunks(self, count: int) -> None:
        """Counts chunks whose vectors exist now."""
        if self._bar is not None:
            self._bar.update(self._task, advance=count, documents=self._documents)

    def stage(self, description: str) -> None:
        """Says what is being done now."""
        if self._bar is not None:
            self._bar.update(self._task, description=description)
