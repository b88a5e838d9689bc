"""A progress bar for an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retrieval_index.terminal_bar import TerminalBar


class EvaluationProgress(TerminalBar):
    """Shows queries done, and the time left, on standard error, if that is a terminal.

    Args:
        queries: How many there are.
        enabled: False shows nothing, whatever standard error is.
    """

    def __init__(self, queries: int, enabled: bool = True) -> None:
        super().__init__(enabled, queries, "searching")

    def _columns(self) -> Sequence[Any]:
        from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn

        return "{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()

    def advance(self, queries: int) -> None:
        """Counts queries that were answered."""
        if self._bar is not None:
            self._bar.update(self._task, advance=queries)
