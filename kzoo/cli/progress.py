"""What is seen of a training: a bar in a terminal, and one line per epoch everywhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kzoo.cli.console import console as terminal
from kzoo.cli.console import say
from kzoo.runs.metrics_log import SCORES

# In the order in which they are shown; the rest of the logs is for the history.
_SHOWN = {
    "loss": ("loss", "{:.3f}"),
    "accuracy": ("accuracy", "{:.1%}"),
    "val_accuracy": ("validation", "{:.1%}"),
}


_ALL = (*SCORES, *(f"val_{name}" for name in SCORES))


class TrainingProgress(keras.callbacks.Callback):  # type: ignore[misc]
    """A bar while an epoch runs (in a terminal), a line when it ends.

    Args:
        console: Where to.
        what: What is trained.
    """

    def __init__(self, console: Console, what: str) -> None:
        super().__init__()
        self._console = console
        self._what = what
        self._bar: Progress | None = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the bar."""
        self._began = time.perf_counter()
        if not self._console.is_terminal:
            return
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._bar.start()
        title = f"{self._what} {epoch + 1}/{self.params.get('epochs', '?')}"
        self._task = self._bar.add_task(title, total=self.params.get("steps"), loss="")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Moves the bar."""
        if self._bar is not None:
            loss = f"loss {float(logs['loss']):.3f}" if logs and "loss" in logs else ""
            self._bar.update(self._task, completed=batch + 1, loss=loss)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Replaces the bar by a line."""
        self._stop()
        which = f"{self._what} {epoch + 1}/{self.params.get('epochs', '?')}"
        self.tell(which, logs or {}, time.perf_counter() - self._began)

    def tell(self, which: str, logs: Mapping[str, Any], seconds: float) -> None:
        """Prints the line of an epoch."""
        shown = [
            f"{title} {form.format(float(logs[key]))}"
            for key, (title, form) in _SHOWN.items()
            if key in logs
        ]
        self._console.print(f"{which}: {', '.join(shown)}, {seconds:.0f} s", highlight=False)

    def on_train_end(self, logs: Any = None) -> None:
        """Takes the bar away."""
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class EpochLines(TrainingProgress):
    """The same on standard error, with all scores that the commands know."""

    def __init__(self) -> None:
        super().__init__(terminal(stderr=True), "epoch")

    def tell(self, which: str, logs: Mapping[str, Any], seconds: float) -> None:
        """Prints the line of an epoch."""
        values = "  ".join(f"{key} {float(logs[key]):.4f}" for key in _ALL if key in logs)
        say(f"{which}  {values}  {seconds:.1f} s")
