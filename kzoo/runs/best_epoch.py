"""Which epoch was the best, and when to stop waiting for a better one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from kzoo.runs.goals import Direction


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
