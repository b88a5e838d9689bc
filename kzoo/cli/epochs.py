"""What is seen of a training: a bar in a terminal, and one line per epoch everywhere."""

from __future__ import annotations

import time
from typing import Any

from kzoo.cli import console
from kzoo.runs.curves import SCORES

_SHOWN = (*SCORES, *(f"val_{name}" for name in SCORES))


def epoch_lines() -> Any:
    """A Keras callback that shows progress on standard error (imports Keras)."""
    import keras

    class EpochLines(keras.callbacks.Callback):  # type: ignore[misc]
        """Bar and lines."""

        def __init__(self) -> None:
            super().__init__()
            self._out = console.console(stderr=True)
            self._bar: Any = None

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self._began = time.perf_counter()
            if self._out.is_terminal:
                self._bar = _bar(self._out)
                self._bar.start()
                title = f"epoch {epoch + 1}/{self.params['epochs']}"
                self._task = self._bar.add_task(title, total=self.params.get("steps"), loss="")

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if self._bar is not None:
                loss = (logs or {}).get("loss")
                shown = "" if loss is None else f"loss {float(loss):.4f}"
                self._bar.update(self._task, completed=batch + 1, loss=shown)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self._stop()
            values = "  ".join(f"{k} {float(logs[k]):.4f}" for k in _SHOWN if k in (logs or {}))
            seconds = time.perf_counter() - self._began
            total = self.params["epochs"]
            console.say(f"epoch {epoch + 1}/{total}  {values}  {seconds:.1f} s")

        def on_train_end(self, logs: Any = None) -> None:
            self._stop()

        def _stop(self) -> None:
            if self._bar is not None:
                self._bar.stop()
                self._bar = None

    return EpochLines()


def _bar(target: Any) -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining())
    return Progress(*columns, TextColumn("{task.fields[loss]}"), console=target, transient=True)
