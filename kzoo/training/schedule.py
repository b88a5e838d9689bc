"""Linear warm-up and decay of the learning rate over one `fit`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras

from kzoo.strategy import scalar

# Keras' callbacks that set the rate.
_OTHERS = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)


class WarmupLinearDecay(keras.callbacks.Callback):  # type: ignore[misc]
    """Raises the learning rate linearly to its value, then lowers it linearly to zero.

    A callback and not a `LearningRateSchedule`, because the number of steps is known only in
    `fit`. Steps are batches, also with `steps_per_execution`: all batches of one execution have
    the rate of its last. Between epochs the optimizer holds its peak rate, so that what is saved
    then, and what is left of an interrupted `fit`, goes on from there. `logs["learning_rate"]` is
    the rate of an epoch's last batch. Whoever sets the rate meanwhile takes over: from then on the
    schedule leaves it alone.

    Args:
        warmup: Share of the steps that rise. Default 0.06.
    """

    def __init__(self, warmup: float = 0.06) -> None:
        super().__init__()
        if not 0 <= warmup < 1:
            raise ValueError(f"`warmup` must be in [0, 1). Received: {warmup}")
        self.warmup = warmup
        self.step = 0
        self.acts = False

    @staticmethod
    def yields_to(callbacks: Iterable[Any]) -> bool:
        """Whether there is one of Keras' callbacks that set the rate."""
        return any(isinstance(callback, _OTHERS) for callback in callbacks)

    def on_train_begin(self, logs: Any = None) -> None:
        """Reads the peak rate and the number of steps."""
        optimizer = self.model.optimizer
        self.peak = self.known = scalar(optimizer.learning_rate)
        self.begun = int(scalar(optimizer.iterations))
        epochs, steps = self.params.get("epochs"), self.params.get("steps")
        self.steps = steps or 0  # 0: a stream of unknown length, stay constant
        self.total = (epochs or 0) * self.steps
        self.step = 0
        self.acts = bool(self.total)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Counts the epochs before, which a resumed `fit(initial_epoch=...)` does not run."""
        self.epoch = epoch
        if self.begun >= 0 and int(scalar(self.model.optimizer.iterations)) != self.begun:
            self._set(self.peak)  # a state was restored, in the middle of an epoch maybe
        self.begun = -1

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Sets the rate of the coming step."""
        if self._taken_over():
            return
        several = int(getattr(self.model, "steps_per_execution", 1) or 1)
        last = min(batch + several, self.steps) - 1
        self.step = self.epoch * self.steps + last
        self._set(self.rate(self.step))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Shows the rate that was used, and puts the peak back."""
        if logs is not None:
            logs["learning_rate"] = scalar(self.model.optimizer.learning_rate)
        if not self._taken_over():
            self._set(self.peak)

    def rate(self, step: int) -> float:
        """Learning rate of step 0 ... total - 1."""
        rising = self.warmup * self.total
        if step < rising:
            return self.peak * (step + 1) / (rising + 1)
        return self.peak * max(0.0, (self.total - step) / max(1.0, self.total - rising))

    def on_train_end(self, logs: Any = None) -> None:
        """Puts the peak rate back; `fit` calls it too where it was interrupted."""
        if not self._taken_over():
            self._set(self.peak)
        self.acts = False

    def _taken_over(self) -> bool:
        """Whether somebody else has set the rate since."""
        if self.acts and scalar(self.model.optimizer.learning_rate) != self.known:
            self.acts = False
        return not self.acts

    def _set(self, rate: float) -> None:
        optimizer = self.model.optimizer
        optimizer.learning_rate = rate
        self.known = scalar(optimizer.learning_rate)  # in its own precision
