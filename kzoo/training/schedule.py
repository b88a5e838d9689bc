"""Linear warm-up and decay of the learning rate over one `fit`."""

from __future__ import annotations

from typing import Any

import keras

from kzoo.strategy import scalar


class WarmupLinearDecay(keras.callbacks.Callback):  # type: ignore[misc]
    """Raises the learning rate linearly to its value, then lowers it linearly to zero.

    A callback and not a `LearningRateSchedule`, because the number of steps is known only in
    `fit`, and because a saved optimizer then keeps its peak rate, so that training can go on.

    Args:
        warmup: Share of the steps that rise. Default 0.06.
    """

    def __init__(self, warmup: float = 0.06) -> None:
        super().__init__()
        if not 0 <= warmup < 1:
            raise ValueError(f"`warmup` must be in [0, 1). Received: {warmup}")
        self.warmup = warmup
        self.step = 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Reads the peak rate and the number of steps."""
        self.peak = scalar(self.model.optimizer.learning_rate)
        epochs, steps = self.params.get("epochs"), self.params.get("steps")
        self.steps = steps or 0  # 0: a stream of unknown length, stay constant
        self.total = (epochs or 0) * self.steps
        self.step = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Counts the epochs before, which a resumed `fit(initial_epoch=...)` does not run."""
        self.step = epoch * self.steps

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Sets the rate of the coming step."""
        if self.total:
            self.model.optimizer.learning_rate = self.rate(self.step)
        self.step += 1

    def rate(self, step: int) -> float:
        """Learning rate of step 0 ... total - 1."""
        rising = self.warmup * self.total
        if step < rising:
            return self.peak * (step + 1) / (rising + 1)
        return self.peak * max(0.0, (self.total - step) / max(1.0, self.total - rising))

    def on_train_end(self, logs: Any = None) -> None:
        """Puts the peak rate back."""
        self.model.optimizer.learning_rate = self.peak
