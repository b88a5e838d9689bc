"""The Keras callback that keeps a run folder up to date."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Any

import keras

from kzoo.runs import metrics_log
from kzoo.runs.best_epoch import BestEpoch
from kzoo.runs.folder import RunFolder
from kzoo.runs.saving import save_atomically, save_for_use, uncompiled
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
