"""`kzoo.heads.Classify`: one class a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kzoo.errors import InputError
from kzoo.heads import HEADS
from kzoo.heads.answers import Answer
from kzoo.heads.classes import ClassHead, loss_options
from kzoo.heads.labels import are_numbers, find_labels, to_ids
from kzoo.metrics import MacroF1

# Losses by name, and the options of each with their defaults.
_LOSSES = {
    "cross_entropy": {},
    "focal": {"gamma": 2.0},
    "class_balanced": {"beta": 0.999, "gamma": 0.0},
}
_ABSENT = -1e8  # no logit of a class that a row's own head has


@HEADS.register("classify")
@keras.saving.register_keras_serializable(package="kzoo")
class Classify(ClassHead):
    """Classes of rows; outputs float32 logits (batch, num_classes).

    Args:
        num_classes: As `ClassHead`.
        labels: As `ClassHead`.
        loss: `cross_entropy` (default); `focal` (Lin et al. 2017, arXiv:1708.02002), which takes
            weight from rows that are right already; or `class_balanced` (Cui et al. 2019,
            arXiv:1901.05555), which weighs rare classes by the effective number of their rows,
            counted in the training labels of each `fit`. See `ClassCrossentropy`.
        gamma: Exponent of `focal` (default 2), or of `class_balanced` (default 0, no focus).
        beta: Of `class_balanced`, from 0 (all classes alike) to below 1 (inverse frequency as it
            nears 1). Default .999.
        label_smoothing: Share of the target that all classes get alike (Szegedy et al. 2016,
            arXiv:1512.00567), with any of the losses. Default 0.
        **kwargs: As `kzoo.heads.Head`.
    """

    kind = "classify"
    kept = ("counts", "numbers")

    def __init__(
        self,
        num_classes: int | None = None,
        labels: Sequence[str] | None = None,
        loss: str = "cross_entropy",
        gamma: float | None = None,
        beta: float | None = None,
        label_smoothing: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, labels, **kwargs)
        self.loss_kind = loss  # `loss` is Keras' own name
        self.loss_options = loss_options(loss, _LOSSES, gamma=gamma, beta=beta)
        if not 0 <= label_smoothing < 1:
            raise InputError(f"`label_smoothing` must be in [0, 1). Received: {label_smoothing}")
        self.label_smoothing = label_smoothing

    def find(self, column: NDArray[Any], names: Sequence[str] | None) -> tuple[str, ...] | int:
        """See `ClassHead`."""
        return find_labels(column, names)

    def learn(self, column: NDArray[Any], names: Sequence[str] | None = None) -> None:
        """See `Head`: finds the classes, and counts them where the loss needs that."""
        fresh = [answer for answer in self.acting() if not answer.facts["settled"]]
        super().learn(column, names)
        if fresh and names is None and self.labels is not None and are_numbers(column):
            self.set_labels(self.labels, numbers=True)
        if self.loss_kind == "class_balanced":
            counts = np.bincount(self.targets(column, names), minlength=self.known_classes())
            for answer in self.acting():
                answer.facts["counts"] = counts.tolist()

    def targets(self, column: NDArray[Any], names: Sequence[str] | None = None) -> NDArray[Any]:
        """Class ids, int32 (n,)."""
        known = self.labels, self.known_classes()
        return to_ids(np.asarray(column), *known, names, self.numbers)

    def default_loss(self) -> Any:
        """The one of the argument `loss`, of logits."""
        if self.loss_kind == "cross_entropy" and not self.label_smoothing:
            return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        weights = None
        if self.loss_kind == "class_balanced":
            counts = self.facts.get("counts")
            # Not known before `fit`, which makes the loss anew.
            weights = [] if counts is None else effective_weights(counts, self.loss_options["beta"])
        return ClassCrossentropy(
            self.loss_options.get("gamma", 0.0), self.label_smoothing, weights, name=self.loss_kind
        )

    def default_metrics(self) -> list[Any]:
        """Accuracy, and macro-F1 once the classes are known."""
        # Not names: "accuracy" guesses its kind from shapes, which fails on an open head.
        found: list[Any] = [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
        if not self.is_open:
            found.append(MacroF1(self.units))
        return found

    def decode(self, outputs: NDArray[Any]) -> list[Any]:
        """The most probable class of each row: its name, or its id where there are no names."""
        ids = np.argmax(outputs, axis=-1).tolist()
        labels = [int(name) for name in self.labels or ()] if self.numbers else self.labels
        return ids if labels is None else [labels[i] for i in ids]

    def saved_facts(self, answer: Answer) -> dict[str, Any]:
        """See `Head`."""
        facts = super().saved_facts(answer)
        # kzoo 0.1 reads such files, and knows no more of them.
        known = ("num_classes", "labels", "pooling", "hidden", *self.kept)
        return {key: facts[key] for key in known if key in facts}

    def get_config(self) -> dict[str, Any]:
        """See `Head`."""
        return {
            **super().get_config(),
            "loss": self.loss_kind,
            **self.loss_options,
            "label_smoothing": self.label_smoothing,
        }


def effective_weights(counts: Sequence[int], beta: float) -> list[float]:
    """Weights of classes by the effective number of their rows; their mean is 1.

    ``w_c`` is in proportion to ``(1 - beta) / (1 - beta^n_c)`` (Cui et al. 2019, eq. 5 and 6). A
    class that does not occur counts as if it had one row.

    Args:
        counts: n_c, rows of each class.
        beta: From 0 to below 1.
    """
    rows = np.maximum(np.asarray(counts, "float64"), 1.0)
    # expm1 and log1p: as beta nears 1, numerator and denominator vanish.
    weights = np.ones_like(rows) if beta == 0 else 1.0 / -np.expm1(rows * np.log(beta))
    return [float(weight) for weight in weights * len(rows) / weights.sum()]


@keras.saving.register_keras_serializable(package="kzoo")
class ClassCrossentropy(keras.losses.Loss):  # type: ignore[misc]
    """Cross-entropy of logits with a focus, smoothed targets and weights of classes.

    ``w_y * sum_c -q_c (1 - p_c)^gamma log p_c``, where p = softmax(logits), q is 1 - s + s / C at
    the true class y and s / C elsewhere. With gamma alone it is the focal loss of Lin et al. 2017
    (eq. 4), with s alone cross-entropy with label smoothing (Szegedy et al. 2016, section 7), with
    w the class-balanced loss of Cui et al. 2019 (eq. 9, and eq. 13 with gamma).

    Args:
        gamma: Exponent of the focus. Default 0: none.
        label_smoothing: s. Default 0.
        class_weights: w, a number a class. Default: 1 each.
        **kwargs: As `keras.losses.Loss`.
    """

    def __init__(
        self,
        gamma: float = 0.0,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
        name: str = "class_crossentropy",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.gamma = gamma
        self.label_smoothing = label_smoothing
        self.class_weights = None if class_weights is None else list(class_weights)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """int (batch,) or (batch, 1) class ids, float (batch, C) logits -> (batch,).

        Raises:
            InputError: The classes were not counted.
        """
        if self.class_weights == []:
            raise InputError(
                "`loss` 'class_balanced' has not counted the classes: a stream is not read for "
                "that. Pass columns in memory to `fit`, or another loss."
            )
        ids = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        target = ops.one_hot(ids, y_pred.shape[-1], dtype=y_pred.dtype)
        log_p = ops.log_softmax(y_pred, axis=-1)
        if self.label_smoothing:
            there = ops.cast(y_pred > _ABSENT, y_pred.dtype)
            target = (1 - self.label_smoothing) * target + self.label_smoothing * (
                there / ops.sum(there, axis=-1, keepdims=True)
            )
        values = -target * log_p
        if self.gamma:
            # Not 0, where a root has no slope.
            values = values * ops.power(ops.maximum(1 - ops.exp(log_p), 1e-7), self.gamma)
        found = ops.sum(values, axis=-1)
        if self.class_weights is None:
            return found
        return found * ops.take(ops.convert_to_tensor(self.class_weights, found.dtype), ids)

    def get_config(self) -> dict[str, Any]:
        """See Keras."""
        return {
            **super().get_config(),
            "gamma": self.gamma,
            "label_smoothing": self.label_smoothing,
            "class_weights": self.class_weights,
        }
