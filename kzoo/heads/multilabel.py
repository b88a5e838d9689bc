"""`kzoo.heads.MultiLabel`: a set of labels a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kzoo.errors import InputError
from kzoo.heads import HEADS
from kzoo.heads.batch_means import rows_over
from kzoo.heads.classes import ClassHead, loss_options
from kzoo.heads.labels import find_label_sets, label_matrix
from kzoo.metrics.keras_label_sets import LabelRankingPrecision, LabelSetF1
from kzoo.metrics.thresholds import best_thresholds

_LOSSES: dict[str, dict[str, float]] = {"cross_entropy": {}, "focal": {"gamma": 2.0}}


@HEADS.register("multilabel")
@keras.saving.register_keras_serializable(package="kzoo")
class MultiLabel(ClassHead):
    """Label sets of rows; outputs float32 logits (batch, num_classes), each a yes or no.

    Labels are lists, tuples or sets of names, an empty one for a row without any; or an
    (n, classes) matrix of 0 and 1, and NaN or -1 where it is not known whether the row has the
    label. What is not known counts neither in the loss nor in the metrics (micro- and macro-F1,
    label ranking average precision).

    A row has the labels whose probability is one half or more, until `tune_thresholds` or
    `set_thresholds` says otherwise; thresholds belong to an adapter and are saved with it.

    Args:
        num_classes: As `ClassHead`.
        labels: As `ClassHead`.
        loss: `cross_entropy` (default), of each label by itself; or `focal` (Lin et al. 2017,
            arXiv:1708.02002). See `KnownCrossentropy`.
        gamma: Exponent of `focal`. Default 2.
        **kwargs: As `kzoo.heads.Head`.
    """

    kind = "multilabel"
    kept = ("thresholds",)
    target_dtype = "int8"

    def __init__(
        self,
        num_classes: int | None = None,
        labels: Sequence[str] | None = None,
        loss: str = "cross_entropy",
        gamma: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, labels, **kwargs)
        self.loss_kind = loss  # `loss` is Keras' own name
        self.loss_options = loss_options(loss, _LOSSES, gamma=gamma)

    @property
    def target_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """See `Head`."""
        return (self.units,)

    def find(self, column: NDArray[Any], names: Sequence[str] | None) -> tuple[str, ...] | int:
        """See `ClassHead`."""
        return find_label_sets(column, names)

    def targets(self, column: NDArray[Any], names: Sequence[str] | None = None) -> NDArray[Any]:
        """int8 (n, num_classes): 1, 0, or -1 where it is not known."""
        return label_matrix(np.asarray(column), self.labels, self.known_classes(), names)

    def default_loss(self) -> Any:
        """The one of the argument `loss`, of logits."""
        return KnownCrossentropy(self.loss_options.get("gamma", 0.0), name=self.loss_kind)

    def default_weighted_metrics(self) -> list[Any]:
        """Micro-F1, macro-F1 and label ranking average precision, once the classes are known."""
        if self.is_open or not self._one_for_all():
            return []
        number, cuts = self.known_classes(), self._cuts().tolist()
        return [
            LabelSetF1(number, "micro", cuts),
            LabelSetF1(number, "macro", cuts),
            LabelRankingPrecision(),
        ]

    # --- Thresholds --------------------------------------------------------------------------

    @property
    def thresholds(self) -> list[float]:
        """The probability of each class from which on a row has the label."""
        return [float(p) for p in _sigmoid(self._cuts())]

    def set_thresholds(self, thresholds: float | Sequence[float] | Mapping[str, float]) -> None:
        """Sets them for the adapter that acts.

        Args:
            thresholds: Probabilities: one for all classes, one a class, or some by label name; the
                others stay.

        Raises:
            InputError: Not between 0 and 1, another number, or an unknown label.
        """
        number = self.known_classes()
        if isinstance(thresholds, Mapping):
            labels, found = self.labels or [], np.asarray(self.thresholds)
            for label, value in thresholds.items():
                if label not in labels:
                    raise InputError(f"`thresholds` has {label!r}, which is no label of the model.")
                found[labels.index(label)] = value
        else:
            found = np.asarray(thresholds, "float64")
            if found.shape not in ((), (number,)):
                raise InputError(
                    f"`thresholds` must be one number, or {number}. Received shape: {found.shape}"
                )
            found = np.broadcast_to(found, (number,))
        if not ((found > 0) & (found < 1)).all():
            raise InputError(f"`thresholds` must be between 0 and 1. Received: {found.tolist()}")
        self._set_cuts(np.log(found) - np.log1p(-found))

    def tune_thresholds(
        self,
        y: Any,
        outputs: NDArray[Any],
        average: Literal["macro", "micro"] = "macro",
        sample_weight: Any = None,
    ) -> list[float]:
        """Takes the thresholds with the largest F1 on rows that were not trained on.

        Exactly the best of all cuts between different outputs; see
        `kzoo.metrics.thresholds.best_thresholds`.

        Args:
            y: Labels of n rows, in any form that `fit` takes.
            outputs: What `predict` gave for them, float (n, num_classes).
            average: `macro` (default): F1 of each class; `micro`: over all classes together.
            sample_weight: float (n,).

        Returns:
            The thresholds, as probabilities.

        Raises:
            InputError: Labels that the model does not know, or shapes that differ.

        Example:
            >>> model.head.tune_thresholds(dev_labels, model.predict(dev_texts))
        """
        try:
            column = np.asarray(y)
        except ValueError:  # rows of different lengths
            column = np.fromiter(y, object, len(y))
        try:
            cuts = best_thresholds(self.targets(column), outputs, average, sample_weight)
        except ValueError as error:
            raise InputError(str(error)) from error
        self._set_cuts(cuts)
        return self.thresholds

    def _cuts(self) -> NDArray[np.float32]:
        """Thresholds of the logits: exact, where probabilities would be rounded."""
        found = self.facts.get("thresholds")
        return np.asarray([0.0] * self.known_classes() if found is None else found, "float32")

    def _set_cuts(self, cuts: NDArray[Any]) -> None:
        for answer in self.acting():
            answer.facts["thresholds"] = np.asarray(cuts, "float32").tolist()
        self.changed()

    def _one_for_all(self) -> bool:
        """Whether all rows are answered with the same labels and thresholds."""
        first, *others = (
            [answer.facts.get(key) for key in ("num_classes", "labels", "thresholds")]
            for answer in self.acting()
        )
        return all(facts == first for facts in others)

    # --- Meaning -----------------------------------------------------------------------------

    def probabilities(self, outputs: NDArray[Any]) -> NDArray[np.float32]:
        """float32 (n, num_classes), from outputs of `predict`."""
        return _sigmoid(outputs)

    def marks(self, outputs: NDArray[Any]) -> NDArray[np.bool_]:
        """bool (n, num_classes), the labels of each row.

        Raises:
            InputError: Rows are answered by adapters with different labels or thresholds.
        """
        if not self._one_for_all():
            raise InputError(
                f"`{self.name}`: adapters with different labels or thresholds answer the rows. "
                "Decode what each of them gives while it acts alone."
            )
        found: NDArray[np.bool_] = np.asarray(outputs, "float32") >= self._cuts()
        return found

    def decode(self, outputs: NDArray[Any]) -> list[list[Any]]:
        """The labels of each row: names, or ids where there are no names; see `marks`."""
        names = self.labels or list(range(self.known_classes()))
        return [[names[i] for i in np.flatnonzero(row)] for row in self.marks(outputs)]

    def class_weight(self, weights: Mapping[Any, float]) -> dict[int, float]:
        """Refused: a row has several classes.

        Raises:
            InputError: Always, with what to do.
        """
        raise InputError(
            f"`class_weight`: rows of the head `{self.name}` have several labels. Use "
            "`sample_weight`, or loss='focal'."
        )

    def get_config(self) -> dict[str, Any]:
        """See `Head`."""
        return {**super().get_config(), "loss": self.loss_kind, **self.loss_options}


@keras.saving.register_keras_serializable(package="kzoo")
class KnownCrossentropy(keras.losses.Loss):  # type: ignore[misc]
    """Sigmoid cross-entropy of labels that are known: in a batch, the mean over all of these.

    ``-(1 - p_t)^gamma log p_t``, where p = sigmoid(logit), and p_t is p for a label that the row
    has, else 1 - p: with gamma = 0 cross-entropy, else the focal loss of Lin et al. 2017 (eq. 4).

    Args:
        gamma: Exponent of the focus. Default 0: none.
        **kwargs: As `keras.losses.Loss`.
    """

    def __init__(self, gamma: float = 0.0, name: str = "known_crossentropy", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.gamma = gamma

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """(batch, C) of 1, 0 and what is below 0 or NaN for not known; logits -> (batch,).

        A row's sum, times rows over known labels of the batch: the mean of these over the batch is
        that of the known labels, and a row's weight is that of its labels.
        """
        known = ops.cast(y_true >= 0, y_pred.dtype)
        other = ops.where(y_true > 0, -y_pred, y_pred)  # logit of 1 - p_t
        values = ops.softplus(other)
        if self.gamma:
            values = values * ops.exp(self.gamma * ops.log_sigmoid(other))
        return ops.sum(values * known, axis=-1) * rows_over(known)

    def get_config(self) -> dict[str, Any]:
        """See Keras."""
        return {**super().get_config(), "gamma": self.gamma}


def _sigmoid(logits: Any) -> NDArray[np.float32]:
    return np.asarray(ops.sigmoid(np.asarray(logits, "float32")))
