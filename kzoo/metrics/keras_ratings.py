"""Scores of ratings as Keras metrics: of logits of conditional ranks (`kzoo.heads.Ordinal`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kzoo.metrics.keras_macro_f1 import MacroF1


def ranks(logits: Any) -> Any:
    """The rank of each row: how many ranks it is above with a probability of more than one half.

    ``P(y > k) = prod_{j <= k} sigmoid(logit_j)`` (Shi et al. 2021, arXiv:2111.08851, eq. 6).

    Args:
        logits: float (n, K - 1).

    Returns:
        int32 (n,), 0 to K - 1.
    """
    above = ops.cumprod(ops.sigmoid(logits), axis=-1)
    return ops.sum(ops.cast(above > 0.5, "int32"), axis=-1)


@keras.saving.register_keras_serializable(package="kzoo")
class RatingAccuracy(keras.metrics.Mean):  # type: ignore[misc]
    """Share of rows with the right rating."""

    def __init__(self, name: str = "accuracy", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch: int (n,) or (n, 1) ranks, float (n, K - 1) logits, weights (n,)."""
        true = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        super().update_state(true == ranks(y_pred), sample_weight)


@keras.saving.register_keras_serializable(package="kzoo")
class RatingError(keras.metrics.Mean):  # type: ignore[misc]
    """Mean absolute error of ratings.

    Args:
        values: The rating of each rank. Default: the rank.
        name: Name in the logs. Default ``mae``.
        dtype: Dtype of the result.
    """

    def __init__(
        self, values: Sequence[float] | None = None, name: str = "mae", dtype: Any = None
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.values = None if values is None else list(values)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch: see `RatingAccuracy`."""
        true, found = ops.cast(ops.reshape(y_true, (-1,)), "int32"), ranks(y_pred)
        if self.values is not None:
            values = ops.convert_to_tensor(self.values, "float32")
            true, found = ops.take(values, true), ops.take(values, found)
        super().update_state(ops.abs(ops.cast(true - found, "float32")), sample_weight)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {**super().get_config(), "values": self.values}


@keras.saving.register_keras_serializable(package="kzoo")
class QuadraticKappa(MacroF1):
    """Cohen's kappa of ranks with quadratic weights, over all batches of an epoch.

    ``1 - sum w O / sum w E`` with ``w_ij = (i - j)^2``, O the confusion matrix, and E what it would
    be if labels and answers were independent (Cohen 1968); 0 is chance, 1 perfect, and NaN where
    all labels and all answers are one and the same rank. Equal to scikit-learn's
    ``cohen_kappa_score(weights="quadratic")`` over all K ranks.

    Args:
        num_classes: Number of ratings K.
        name: Name in the logs. Default ``kappa``.
        dtype: See `MacroF1`.
    """

    def __init__(self, num_classes: int, name: str = "kappa", dtype: Any = None) -> None:
        super().__init__(num_classes, name=name, dtype=dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch: see `RatingAccuracy`."""
        found = ops.one_hot(ranks(y_pred), self._classes, dtype="float32")
        super().update_state(y_true, found, sample_weight)

    def result(self) -> Any:
        """Kappa of everything counted."""
        seen = ops.convert_to_tensor(self._matrix)
        place = ops.arange(self._classes, dtype="float32")
        apart = ops.square(place[:, None] - place[None, :])
        chance = ops.sum(seen, axis=1)[:, None] * ops.sum(seen, axis=0)[None, :] / ops.sum(seen)
        kappa = 1.0 - ops.sum(apart * seen) / ops.sum(apart * chance)
        outside = ops.convert_to_tensor(self._outside) > 0
        return ops.cast(ops.where(outside, float("nan"), kappa), self.dtype)
