"""F1 and ranking of label sets as Keras metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kzoo")
class LabelSetF1(keras.metrics.Metric):  # type: ignore[misc]
    """F1 of label sets over all batches of an epoch, of labels that are known.

    ``micro`` is ``2 TP / (2 TP + FP + FN)`` over all classes together, ``macro`` the mean of this
    over all classes, 0 for one without labels and predictions: scikit-learn's ``f1_score`` of label
    indicators, with ``zero_division=0``.

    Args:
        num_classes: Number of classes C.
        average: ``micro`` (default) or ``macro``.
        thresholds: C numbers; a label is predicted where its score is not below. Default: 0 each,
            the logit of one half.
        name: Name in the logs. Default ``micro_f1`` or ``macro_f1``.
        dtype: Dtype of the result. Counts are kept in float32.
    """

    def __init__(
        self,
        num_classes: int,
        average: Literal["micro", "macro"] = "micro",
        thresholds: Sequence[float] | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name or f"{average}_f1", dtype=dtype)
        if average not in ("micro", "macro"):
            raise ValueError(f"`average` must be 'micro' or 'macro', received {average!r}")
        self.num_classes = num_classes
        self.average = average
        self.thresholds = [0.0] * num_classes if thresholds is None else list(thresholds)
        self._hits = self.add_variable((num_classes,), "zeros", dtype="float32", name="hits")
        self._marked = self.add_variable((num_classes,), "zeros", dtype="float32", name="marked")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch.

        Args:
            y_true: (n, C): 1, 0, or below 0 where the label is not known.
            y_pred: float (n, C), scores.
            sample_weight: float (n,) or (n, 1), default 1 for every row.
        """
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        weight = ops.cast(y_true >= 0, "float32")
        if sample_weight is not None:
            weight = weight * ops.reshape(ops.cast(sample_weight, "float32"), (-1, 1))
        true = ops.cast(y_true > 0, "float32")
        marks = ops.cast(y_pred >= ops.convert_to_tensor(self.thresholds, y_pred.dtype), "float32")
        self._hits.assign_add(ops.sum(weight * true * marks, axis=0))
        self._marked.assign_add(ops.sum(weight * (true + marks), axis=0))

    def result(self) -> Any:
        """F1 of everything counted, a scalar from 0 to 1 (0 before the first row)."""
        hits, marked = ops.convert_to_tensor(self._hits), ops.convert_to_tensor(self._marked)
        if self.average == "micro":
            found = ops.divide_no_nan(2.0 * ops.sum(hits), ops.sum(marked))
        else:
            found = ops.mean(ops.divide_no_nan(2.0 * hits, marked))
        return ops.cast(found, self.dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "average": self.average,
            "thresholds": self.thresholds,
        }


@keras.saving.register_keras_serializable(package="kzoo")
class LabelRankingPrecision(keras.metrics.Mean):  # type: ignore[misc]
    """Label ranking average precision, the mean over rows; of labels that are known.

    For each label that a row has, the share of such labels among those ranked as high or higher
    (of equal scores none is higher); the mean over the row's labels. 1 for a row that has none of
    the known labels or all of them. Equal to scikit-learn's
    ``label_ranking_average_precision_score``; a row of which nothing is known does not count.

    Args:
        name: Name in the logs. Default ``lrap``.
        dtype: Dtype of the result.
    """

    def __init__(self, name: str = "lrap", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch.

        Args:
            y_true: (n, C): 1, 0, or below 0 where the label is not known.
            y_pred: float (n, C), scores.
            sample_weight: float (n,) or (n, 1), default 1 for every row.
        """
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        order = ops.argsort(-y_pred, axis=-1)
        scores, labels = (ops.take_along_axis(x, order, axis=-1) for x in (y_pred, y_true))
        known, own = (ops.cast(x, "float32") for x in (labels >= 0, labels > 0))
        last = ops.concatenate(
            [scores[:, 1:] != scores[:, :-1], ops.ones_like(scores[:, :1], "bool")], axis=-1
        )
        there = ops.sum(own, axis=-1)
        precision = ops.divide_no_nan(_at_end(own, last), _at_end(known, last))
        found = ops.divide_no_nan(ops.sum(own * precision, axis=-1), there)
        plain = ops.logical_or(there == 0, there == ops.sum(known, axis=-1))
        weight = ops.cast(ops.any(labels >= 0, axis=-1), "float32")
        if sample_weight is not None:
            weight = weight * ops.reshape(ops.cast(sample_weight, "float32"), (-1,))
        super().update_state(ops.where(plain, 1.0, found), weight)


def _at_end(marks: Any, last: Any) -> Any:
    """Running sums along a row, at the last place with an equal score."""
    sums = ops.where(last, ops.cumsum(marks, axis=-1), float("inf"))
    step = 1
    while step < marks.shape[-1]:  # the smallest from here on: the sums do not fall
        later = ops.pad(sums[:, step:], [[0, 0], [0, step]], constant_values=float("inf"))
        sums, step = ops.minimum(sums, later), 2 * step
    return sums
