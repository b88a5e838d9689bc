"""What a classifier has to beat to be worth its weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kzoo.datasets import Dataset
from kzoo.demo.questions import class_ids
from kzoo.demo.results import Score, Verdict
from kzoo.metrics import accuracy, macro_f1

Ids = NDArray[np.int64]

_REGULARISATION = (
    10.0,
    30.0,
    100.0,
    300.0,
)  # inverse strengths of the logistic regression that are tried


@dataclass(frozen=True)
class Baseline:
    """Predictions on the test split.

    Args:
        name: What people call it.
        predicted: int64 (n,), class ids.
        remark: How it was made.
    """

    name: str
    predicted: Ids
    remark: str


def majority(data: Dataset) -> Baseline:
    """Always the most frequent class of the training split (the first of several)."""
    counts = np.bincount(class_ids(data["train"]))
    most = int(np.argmax(counts))
    name = (data.label_names or [])[most] if data.label_names else str(most)
    predicted = np.full(len(data["test"]), most, dtype=np.int64)
    return Baseline("the majority class", predicted, f"always “{name}”")


def tfidf(data: Dataset) -> Baseline:
    """TF-IDF and logistic regression; the regularisation is chosen on the validation split."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    train, validation, test = (data[name] for name in ("train", "validation", "test"))
    words = TfidfVectorizer(sublinear_tf=True)
    x = words.fit_transform(train.texts)
    x_validation = words.transform(validation.texts)
    tried = []
    # Beside TensorFlow's threads, several of BLAS take thirty times as long as one.
    with threadpool_limits(1):
        for strength in _REGULARISATION:
            model = LogisticRegression(C=strength, max_iter=300).fit(x, class_ids(train))
            right = accuracy(class_ids(validation), model.predict(x_validation))
            tried.append((right, strength, model))
    _, strength, model = max(tried, key=lambda entry: entry[0])  # the first of several
    predicted = np.asarray(model.predict(words.transform(test.texts)), dtype=np.int64)
    remark = f"{len(words.vocabulary_):,} words, C={strength:g} chosen on the validation split"
    return Baseline("TF-IDF + logistic regression", predicted, remark)


def score(name: str, true: Ids, predicted: Ids, remark: str = "") -> Score:
    """Accuracy and macro-F1 of predictions."""
    return Score(name, accuracy(true, predicted), macro_f1(true, predicted), remark)


def compare(true: Ids, adapter: Ids, baseline: Baseline) -> Verdict:
    """The paired difference in accuracy, with its standard error.

    Args:
        true: int64 (n,), true class ids.
        adapter: int64 (n,), what the adapter predicts.
        baseline: What the baseline predicts.
    """
    paired = (adapter == true).astype(float) - (baseline.predicted == true).astype(float)
    error = float(np.std(paired) / np.sqrt(len(paired)))
    return Verdict(baseline.name, float(np.mean(paired)), error)
