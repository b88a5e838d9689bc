"""How well a classifier does on labelled rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.datasets import Split
from kzoo.errors import InputError
from kzoo.metrics import accuracy, confusion_matrix, macro_f1
from kzoo.runs.data import aligned


@dataclass(frozen=True)
class Scores:
    """Scores of one model on one split.

    Args:
        rows: Rows scored.
        loss: Mean cross-entropy in nats.
        accuracy: Share of rows that are right, 0 to 1.
        macro_f1: Mean F1 of the classes that occur in the labels or the answers, 0 to 1.
        labels: Class names, in the order of the matrix.
        confusion: int (classes, classes): true classes in rows, answers in columns.
    """

    rows: int
    loss: float
    accuracy: float
    macro_f1: float
    labels: list[str]
    confusion: NDArray[np.int64]

    def summary(self) -> dict[str, Any]:
        """rows, loss, accuracy, macro_f1."""
        return {
            "rows": self.rows,
            "loss": self.loss,
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
        }

    def per_class(self) -> list[dict[str, Any]]:
        """label, rows, precision, recall, f1 of each class; None where there is nothing to count.

        Precision needs answers of the class, recall needs rows of it.
        """
        hits = np.diag(self.confusion)
        true, answered = self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        return [
            {
                "label": label,
                "rows": int(true[i]),
                "precision": _share(hits[i], answered[i]),
                "recall": _share(hits[i], true[i]),
                "f1": _share(2 * hits[i], true[i] + answered[i]),
            }
            for i, label in enumerate(self.labels)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Everything, JSON-ready."""
        return {
            **self.summary(),
            "per_class": self.per_class(),
            "confusion": {"labels": self.labels, "matrix": self.confusion.tolist()},
        }


def score(model: Any, split: Split, where: str = "the dataset") -> Scores:
    """Scores a `kzoo.TextClassifier`.

    Args:
        model: Trained classifier.
        split: Labelled rows.
        where: What the rows are, for errors.

    Raises:
        InputError: No labels, or labels that the model does not know.
    """
    labels = model.labels or [str(i) for i in range(model.num_classes or 0)]
    split = aligned(split, labels, where)
    if len(split) == 0 or split.labels is None:
        raise InputError(f"{where} has no rows to score.")
    logits = np.asarray(model.predict(split.inputs, verbose=0), "float64")
    true = split.labels.astype("int64")
    answers = logits.argmax(axis=-1)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_likelihood = shifted[np.arange(len(true)), true] - np.log(np.exp(shifted).sum(axis=-1))
    return Scores(
        rows=len(true),
        loss=float(-log_likelihood.mean()),
        accuracy=accuracy(true, answers),
        macro_f1=macro_f1(true, answers),
        labels=labels,
        confusion=confusion_matrix(true, answers, len(labels)),
    )


def _share(part: Any, whole: Any) -> float | None:
    return float(part / whole) if whole else None
