"""How well a model does on rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kzoo.datasets import Split
from kzoo.errors import InputError
from kzoo.metrics import accuracy, confusion_matrix, macro_f1, pearson, spearman
from kzoo.runs.data import aligned


class Scored(Protocol):
    """What scores of every kind have."""

    @property
    def rows(self) -> int:
        """Rows scored."""

    def summary(self) -> dict[str, Any]:
        """`rows` and single numbers, JSON-ready; None where one cannot be computed."""

    def details(self) -> dict[str, Any]:
        """What else there is to tell, JSON-ready."""

    def to_dict(self) -> dict[str, Any]:
        """Everything, JSON-ready."""


@dataclass(frozen=True)
class Scores:
    """Scores of one classifier on one split.

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
        true, answered = self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        return _per_class(self.labels, np.diag(self.confusion), true, answered)

    def details(self) -> dict[str, Any]:
        """per_class and confusion, JSON-ready."""
        return {
            "per_class": self.per_class(),
            "confusion": {"labels": self.labels, "matrix": self.confusion.tolist()},
        }

    def to_dict(self) -> dict[str, Any]:
        """Everything, JSON-ready."""
        return {**self.summary(), **self.details()}


@dataclass(frozen=True)
class PlainScores:
    """Scores that are single numbers.

    Args:
        rows: Rows scored.
        values: Name -> number.
        more: What else there is to tell, JSON-ready.
    """

    rows: int
    values: Mapping[str, float]
    more: Mapping[str, Any] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """See `Scored`."""
        known = {
            name: value if math.isfinite(value) else None for name, value in self.values.items()
        }
        return {"rows": self.rows, **known}

    def details(self) -> dict[str, Any]:
        """See `Scored`."""
        return dict(self.more)

    def to_dict(self) -> dict[str, Any]:
        """Everything, JSON-ready."""
        return {**self.summary(), **self.details()}


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


def score_label_sets(model: Any, split: Split, where: str = "the dataset") -> PlainScores:
    """Scores a model that ends in `kzoo.heads.MultiLabel`.

    Args:
        model: Trained.
        split: Rows with label sets.
        where: What the rows are, for errors.

    Returns:
        loss (mean cross-entropy of a label, in nats, or what the recipe has in its place), micro_f1
        and macro_f1 with the model's thresholds, lrap (label ranking average precision); and each
        label by itself.

    Raises:
        InputError: No rows, or labels that the model does not know.
    """
    head = model.head
    labels = head.labels or [str(i) for i in range(head.num_classes or 0)]
    true, outputs, values = _by_metrics(model, split, labels, where)
    marks, has, known = head.marks(outputs), true > 0, true >= 0
    counts = ((known & part).sum(axis=0) for part in (has & marks, has, marks))
    return PlainScores(len(true), values, {"per_class": _per_class(labels, *counts)})


def score_ratings(model: Any, split: Split, where: str = "the dataset") -> PlainScores:
    """Scores a model that ends in `kzoo.heads.Ordinal`.

    Args:
        model: Trained.
        split: Rows with a rating each.
        where: What the rows are, for errors.

    Returns:
        loss (CORN's), accuracy, mae (mean absolute error), kappa (Cohen's with quadratic weights).

    Raises:
        InputError: No rows, or ratings that the model does not know.
    """
    labels = model.head.labels or range(model.head.num_classes or 0)
    true, _, values = _by_metrics(model, split, [str(label) for label in labels], where)
    return PlainScores(len(true), values)


def _by_metrics(
    model: Any, split: Split, labels: list[str], where: str
) -> tuple[NDArray[Any], NDArray[Any], dict[str, float]]:
    """Targets and outputs of all rows, and what the head's loss and metrics make of them."""
    split = aligned(split, labels, where)
    if len(split) == 0 or split.labels is None:
        raise InputError(f"{where} has no rows to score.")
    outputs = np.asarray(model.predict(split.inputs, verbose=0))
    true = model.head.targets(split.labels, split.label_names)
    values = {"loss": float(model.head.default_loss()(true, outputs))}
    for metric in model.head.default_weighted_metrics():
        metric.update_state(true, outputs)
        values[metric.name] = float(metric.result())
    return true, outputs, values


def score_numbers(model: Any, split: Split, where: str = "the dataset") -> PlainScores:
    """Scores a model that ends in `kzoo.heads.Regress`.

    Args:
        model: Trained.
        split: Rows with a number each.
        where: What the rows are, for errors.

    Returns:
        rmse, in the units of the numbers; pearson and spearman, from -1 to 1 (of two rows or more).

    Raises:
        InputError: No rows, or no numbers.
    """
    if len(split) == 0 or split.labels is None or not split.is_regression:
        raise InputError(f"{where} has no rows with numbers; they are needed to score the model.")
    true = split.labels.astype("float64")
    answers = np.asarray(model.decode(model.predict(split.inputs, verbose=0)), "float64")
    several = len(true) > 1
    return PlainScores(
        len(true),
        {
            "rmse": float(np.sqrt(np.mean((answers - true) ** 2))),
            "pearson": pearson(true, answers) if several else math.nan,
            "spearman": spearman(true, answers) if several else math.nan,
        },
    )


def score_annotated(model: Any, split: Split, where: str = "the dataset") -> PlainScores:
    """Scores a model whose labels stand in the texts: tags, answers.

    Args:
        model: Trained.
        split: Annotated rows.
        where: What the rows are, for errors.

    Returns:
        What `evaluate` gives: loss, accuracy of words and scores of entities; or loss, exact match
        and F1 of answers, from 0 to 1.

    Raises:
        InputError: No rows, or no annotations.
    """
    if len(split) == 0 or not split.is_annotated:
        raise InputError(f"{where} has no annotated rows; they are needed to score the model.")
    found = model.evaluate(split.inputs, split.labels, verbose=0, return_dict=True)
    return PlainScores(len(split), {name: float(value) for name, value in found.items()})


def score_vectors(model: Any, split: Split, where: str = "the dataset") -> PlainScores:
    """Scores a model that ends in `kzoo.heads.Contrast`.

    Args:
        model: Trained.
        split: Pairs of texts that belong together.
        where: What the rows are, for errors.

    Returns:
        What `evaluate` gives: loss and batch_accuracy, which depend on the model's batch size, and
        mrr, the mean reciprocal rank of each second text among all of them.

    Raises:
        InputError: No rows.
    """
    if len(split) == 0:
        raise InputError(f"{where} has no rows to score.")
    found = model.evaluate(split.inputs, verbose=0, return_dict=True)
    return PlainScores(len(split), {name: float(value) for name, value in found.items()})


def score_texts(model: Any, split: Split, where: str = "the dataset") -> PlainScores:
    """Scores a model that predicts the next token.

    Args:
        model: Trained.
        split: Texts, or pairs of which the second text is predicted.
        where: What the rows are, for errors.

    Returns:
        loss (mean cross-entropy of a token, in nats), accuracy (share of right tokens) and
        perplexity.

    Raises:
        InputError: No rows.
    """
    if len(split) == 0:
        raise InputError(f"{where} has no rows to score.")
    found = model.evaluate(split.inputs, verbose=0, return_dict=True)
    return PlainScores(
        len(split), {name: float(found[name]) for name in ("loss", "accuracy", "perplexity")}
    )


def _share(part: Any, whole: Any) -> float | None:
    return float(part / whole) if whole else None


def _per_class(
    labels: list[str], hits: NDArray[Any], true: NDArray[Any], answered: NDArray[Any]
) -> list[dict[str, Any]]:
    return [
        {
            "label": label,
            "rows": int(true[i]),
            "precision": _share(hits[i], answered[i]),
            "recall": _share(hits[i], true[i]),
            "f1": _share(2 * hits[i], true[i] + answered[i]),
        }
        for i, label in enumerate(labels)
    ]
