"""The Keras callback that keeps a run folder up to date, its best epoch included."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import keras

from kzoo.runs import metrics_log
from kzoo.runs.folder import RunFolder
from kzoo.runs.goal import Direction
from kzoo.strategy import scalar


class Recorder(keras.callbacks.Callback):  # type: ignore[misc]
    """After every epoch: a line of metrics, the checkpoint to resume from, the best model.

    In this order, so that a crash between two of them can be told from the files: what has no
    `last.keras` yet is trained again.

    Args:
        folder: Where to.
        product: The model that `model.keras` shall hold; the student where a Distiller is fitted.
        best: Follows the metric; knows the earlier epochs of a resumed run.
        peak: Peak learning rate, which the checkpoint holds instead of the current one.
        epochs: Epochs of the whole run.
    """

    def __init__(
        self, folder: RunFolder, product: Any, best: BestEpoch, peak: float, epochs: int
    ) -> None:
        super().__init__()
        self.folder = folder
        self.product = product
        self.best = best
        self.peak = peak
        self.epochs = epochs
        self.stopped_early = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the clock."""
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes everything."""
        logs = {key: float(value) for key, value in (logs or {}).items()}
        number = epoch + 1
        seconds = round(time.perf_counter() - self._began, 3)
        metrics_log.append(self.folder.metrics, {"epoch": number, **logs, "seconds": seconds})
        self._checkpoint()
        if self.best.see(number, logs):
            save_for_use(self.product, self.folder.model)
        self.folder.set_status("running", epochs_done=number, epochs=self.epochs)
        if self.best.exhausted and number < self.epochs:
            self.stopped_early = True
            self.model.stop_training = True

    def _checkpoint(self) -> None:
        optimizer = self.model.optimizer
        current = scalar(optimizer.learning_rate)
        optimizer.learning_rate = self.peak
        # A student's own optimizer never ran; the Distiller's did.
        inner = nullcontext() if self.product is self.model else uncompiled(self.product)
        try:
            with inner:
                save_atomically(self.model, self.folder.last)
        finally:
            optimizer.learning_rate = current


class BestEpoch:
    """Follows one metric over the epochs.

    Of equal epochs the one with the smaller `val_loss` is better. Without the metric (no
    validation rows) every epoch is the best so far: the last one is kept.

    Args:
        metric: Key of the logs, such as `val_accuracy`.
        patience: Epochs without a better value until `exhausted`. Default: never.
        direction: Whether the largest or the smallest value is best. Default `max`.
    """

    def __init__(
        self, metric: str, patience: int | None = None, direction: Direction = "max"
    ) -> None:
        self.metric = metric
        self.patience = patience
        self.sign = 1.0 if direction == "max" else -1.0
        self.epoch = 0
        self.value = (-math.inf, -math.inf)
        self.last = 0

    def see(self, epoch: int, logs: Mapping[str, Any]) -> bool:
        """Takes the logs of an epoch (from 1); returns whether it is the best so far."""
        self.last = epoch
        found = logs.get(self.metric)
        score = self.sign * float(found or 0.0)
        # A correlation with a constant is no number, and worse than any.
        value = (-math.inf if math.isnan(score) else score, -float(logs.get("val_loss", 0.0)))
        better = found is None or value > self.value
        if better:
            self.epoch, self.value = epoch, value
        return better

    @property
    def exhausted(self) -> bool:
        """Whether `patience` is used up."""
        return self.patience is not None and self.last - self.epoch >= self.patience


def save_atomically(model: Any, path: Path) -> None:
    """Writes a model with its optimizer; an older file is replaced at the very end."""
    fresh = path.with_name(f".{path.stem}.new.keras")
    try:
        model.save(fresh)
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def save_for_use(model: Any, path: Path) -> None:
    """Writes a model without optimizer state, which for Adam is twice its trained weights.

    The loaded model answers, evaluates and can be fitted anew: it compiles itself.
    """
    with uncompiled(model):
        save_atomically(model, path)


@contextmanager
def uncompiled(model: Any) -> Iterator[None]:
    """Inside, the model is saved as if it had never been compiled."""
    compiled, optimizer = model.compiled, getattr(model, "optimizer", None)
    model.compiled, model.optimizer = False, None
    try:
        yield
    finally:
        model.compiled, model.optimizer = compiled, optimizer
