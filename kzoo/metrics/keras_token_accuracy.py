"""Accuracy of tokens over batches of different lengths."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kzoo")
class TokenAccuracy(keras.metrics.SparseCategoricalAccuracy):  # type: ignore[misc]
    """Share of the tokens whose largest logit is that of their label, by weight.

    Keras' own takes the mean over a row's length first, so that a token of a batch that is padded
    to more counts for less; here each counts for its weight.

    Args:
        name: In the logs.
        **kwargs: As `keras.metrics.SparseCategoricalAccuracy`.
    """

    def __init__(self, name: str = "accuracy", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch.

        Args:
            y_true: int (batch, length).
            y_pred: float (batch, length, classes).
            sample_weight: float (batch, length). Default: 1 for each token.
        """
        y_pred = ops.reshape(y_pred, (-1, y_pred.shape[-1]))
        flat = None if sample_weight is None else ops.reshape(sample_weight, (-1,))
        super().update_state(ops.reshape(y_true, (-1,)), y_pred, flat)

    def get_config(self) -> dict[str, Any]:
        """See Keras."""
        return {"name": self.name, "dtype": self.dtype}
