"""A progress bar for an evaluation."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any


class EvaluationProgress:
    """Shows queries done, and the time left, on standard error, if that is a terminal.

    Args:
        queries: How many there are.
        enabled: False shows nothing, whatever standard error is.
    """

    def __init__(self, queries: int, enabled: bool = True) -> None:
        self._enabled = enabled and sys.stderr is not None and sys.stderr.isatty()
        self._queries = queries
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> EvaluationProgress:
        if self._enabled:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

            columns = ("searching", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._bar.start()
            self._task = self._bar.add_task("searching", total=self._queries)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, queries: int) -> None:
        """Counts queries that were answered."""
        if self._bar is not None:
            self._bar.update(self._task, advance=queries)
