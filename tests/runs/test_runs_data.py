"""The rows of a run, and scores against scikit-learn."""

from collections import Counter

import numpy as np
import pytest
from sklearn import metrics as reference

from kzoo.datasets import Card, Dataset, Split
from kzoo.errors import InputError
from kzoo.runs import DataOptions, score
from kzoo.runs.data import aligned, read_dataset, training_data

NAMES = ["a", "b", "c"]


def _dataset(counts, **splits):
    labels = np.repeat(np.arange(3), counts).astype("int32")
    train = Split([f"text {i}" for i in range(len(labels))], labels=labels, label_names=NAMES)
    return Dataset("toy", {"train": train, **splits}, NAMES, Card("toy"))


def test_a_tenth_is_set_aside_and_said():
    said = []
    found = training_data(_dataset([60, 30, 10]), None, 3, said.append)
    assert Counter(found["validation"].labels.tolist()) == {0: 6, 1: 3, 2: 1}
    assert len(found["train"]) == 90
    assert not set(found["train"].texts) & set(found["validation"].texts)
    assert said == [
        "no validation split: 10 of 100 training rows (10 %, classes in proportion, seed 3) are "
        "set aside"
    ]


def test_take_keeps_the_shares_and_a_given_validation_split():
    validation = Split(["x", "y"], labels=[0, 1], label_names=NAMES)
    said = []
    data = _dataset([60, 30, 10], validation=validation)
    found = training_data(data, 20, 0, said.append)
    assert Counter(found["train"].labels.tolist()) == {0: 12, 1: 6, 2: 2}
    assert found["validation"].texts == ["x", "y"]
    assert said == []
    with pytest.raises(InputError, match="`take` is 101"):
        training_data(data, 101, 0, said.append)


def test_few_rows_go_without_validation():
    said = []
    found = training_data(_dataset([4, 3, 0]), None, 0, said.append)
    assert list(found) == ["train"]
    assert "too few" in said[0]


def test_an_unlabelled_test_split_is_left_out():
    said = []
    found = training_data(_dataset([20, 20, 0], test=Split(["x"])), None, 0, said.append)
    assert "test" not in found
    assert "`test` of 'toy' has no labels" in said[0]


def test_one_class_only():
    with pytest.raises(InputError, match=r"one class only: 'a' in all 5 training rows"):
        training_data(_dataset([5, 0, 0]), None, 0, print)


def test_scores_are_no_classes(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("text,score\nx,0.5\ny,1.5\n")
    with pytest.raises(InputError, match="numbers on a scale"):
        read_dataset(path, DataOptions())


def test_labels_are_counted_as_the_model_counts_them():
    split = Split(["x", "y", "z"], labels=[2, 0, 2], label_names=NAMES)
    found = aligned(split, ["c", "b", "a"], "here")
    assert found.labels.tolist() == [0, 2, 0]
    assert found.label_strings == split.label_strings
    with pytest.raises(InputError, match=r"here has labels that the model does not know: 'a', 'c'"):
        aligned(split, ["b", "d"], "here")
    # a name that does not occur is no problem
    assert aligned(split, ["c", "a"], "here").labels.tolist() == [0, 1, 0]


class _Model:
    """Answers with fixed logits."""

    labels = ("a", "b", "c")

    def __init__(self, logits):
        self.logits = logits

    def predict(self, x, verbose=0):
        assert len(x) == len(self.logits)
        return self.logits


def test_scores_equal_scikit_learn():
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (200, 3))
    true = random.integers(0, 3, 200)
    split = Split(["t"] * 200, labels=true.astype("int32"), label_names=NAMES)
    found = score(_Model(logits), split)
    answers = logits.argmax(-1)
    chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    assert found.rows == 200
    assert found.accuracy == pytest.approx(reference.accuracy_score(true, answers))
    assert found.macro_f1 == pytest.approx(reference.f1_score(true, answers, average="macro"))
    assert found.loss == pytest.approx(reference.log_loss(true, chances), rel=1e-9)
    np.testing.assert_array_equal(found.confusion, reference.confusion_matrix(true, answers))
    expected = reference.precision_recall_fscore_support(true, answers)
    rows = found.per_class()
    for key, values in zip(("precision", "recall", "f1", "rows"), expected, strict=True):
        assert [row[key] for row in rows] == pytest.approx(list(values))


def test_a_class_that_occurs_nowhere_has_no_score():
    split = Split(["t"] * 2, labels=[0, 1], label_names=NAMES)
    found = score(_Model(np.array([[9.0, 0, 0], [9.0, 0, 0]])), split)
    assert found.per_class()[1] == {
        "label": "b",
        "rows": 1,
        "precision": None,
        "recall": 0.0,
        "f1": 0.0,
    }
    assert found.per_class()[2]["f1"] is None
