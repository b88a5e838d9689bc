"""Macro-averaged F1 as a Keras metric."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kzoo")
class MacroF1(keras.metrics.Metric):  # type: ignore[misc]
    """The mean over classes of F1 = 2 TP / (2 TP + FP + FN), over all batches of an epoch.

    The mean is over the classes that occur, with a weight, in the labels or in the predictions, as
    scikit-learn's ``f1_score(average="macro")`` has it. The state is a confusion matrix, so the
    result is that of the whole epoch and not a mean of batches.

    A label outside 0 to C - 1 makes the result NaN until the state is reset: a compiled step cannot
    raise, and any number would be a wrong one. Rows of weight 0 count for nothing, whatever
    their label.

    Args:
        num_classes: number of classes C. Default None: the last axis of the first predictions.
        name: name in the logs. Default ``"macro_f1"``.
        dtype: dtype of the result. Default: Keras' float type. Counts are always kept in float32,
            which is exact up to 16.7 million rows per cell.

    Raises:
        ValueError: if `num_classes` is below 2.
    """

    def __init__(
        self, num_classes: int | None = None, name: str = "macro_f1", dtype: Any = None
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.num_classes = num_classes
        self._counting = False
        if num_classes is not None:
            self._build(num_classes)

    def _build(self, num_classes: int) -> None:
        if num_classes < 2:
            raise ValueError(
                f"`num_classes` must be at least 2, received {num_classes}; the last axis of the "
                "predictions has one logit or probability per class"
            )
        self._classes = num_classes
        self._matrix = self.add_variable(
            (num_classes, num_classes), "zeros", dtype="float32", name="confusion"
        )
        self._outside = self.add_variable((), "zeros", dtype="float32", name="labels_outside")
        self._counting = True

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch.

        Args:
            y_true: int (n,) or (n, 1), class ids.
            y_pred: float (n, C), logits or probabilities; only the largest of a row matters.
            sample_weight: float (n,) or (n, 1), default 1 for every row.

        Raises:
            ValueError: if the shapes are others.
        """
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        if len(y_pred.shape) != 2 or y_pred.shape[-1] is None:
            raise ValueError(
                f"`y_pred` must have shape (n, number of classes), received {tuple(y_pred.shape)}"
            )
        if not self._counting:
            self._build(int(y_pred.shape[-1]))
        if y_pred.shape[-1] != self._classes:
            raise ValueError(
                f"`y_pred` must have {self._classes} classes in its last axis, received shape "
                f"{tuple(y_pred.shape)}"
            )
        true = ops.cast(_column(y_true, "y_true"), "int32")
        weight = ops.ones_like(true, dtype="float32")
        if sample_weight is not None:
            given = _column(ops.convert_to_tensor(sample_weight), "sample_weight")
            weight = weight * ops.cast(given, "float32")
        predicted = ops.one_hot(ops.argmax(y_pred, axis=-1), self._classes, dtype="float32")
        # A product of one-hot matrices rather than a scatter: XLA and the GPU both like it.
        rows = ops.one_hot(true, self._classes, dtype="float32") * weight[:, None]
        self._matrix.assign_add(ops.matmul(ops.transpose(rows), predicted))
        outside = ops.logical_or(true < 0, true >= self._classes)
        self._outside.assign_add(ops.sum(ops.cast(outside, "float32") * ops.abs(weight)))

    def result(self) -> Any:
        """Macro F1 of everything counted, a scalar from 0 to 1 (0 before the first row)."""
        if not self._counting:
            return ops.zeros((), dtype=self.dtype)
        matrix = ops.convert_to_tensor(self._matrix)
        total = ops.sum(matrix, axis=0) + ops.sum(matrix, axis=1)
        present = ops.cast(total > 0, "float32")
        f1 = ops.divide_no_nan(2.0 * ops.diagonal(matrix), total)
        mean = ops.divide_no_nan(ops.sum(f1 * present), ops.sum(present))
        mean = ops.where(ops.convert_to_tensor(self._outside) > 0, float("nan"), mean)
        return ops.cast(mean, self.dtype)

    def get_config(self) -> dict[str, Any]:
        """`name`, `dtype` and `num_classes`."""
        return {**super().get_config(), "num_classes": self.num_classes}


def _column(values: Any, name: str) -> Any:
    shape = tuple(values.shape)
    if len(shape) == 2 and shape[-1] == 1:
        return ops.squeeze(values, axis=-1)
    if len(shape) != 1:
        raise ValueError(
            f"`{name}` must have shape (n,) or (n, 1), received {shape}; class labels are integer "
            "ids, not one-hot rows"
        )
    return values
