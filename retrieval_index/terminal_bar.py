"""A progress bar on standard error, which is there only where somebody looks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _columns(self) -> Sequence[Any]:
        """Returns rich's columns."""
        raise NotImplementedError

    def _fields(self) -> dict[str, Any]:
        """Returns what the columns show besides rich's own fields, at the beginning."""
        return {}
