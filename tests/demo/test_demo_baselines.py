"""Baselines against scikit-learn and by hand."""

import numpy as np
import pytest
from demo_helpers import tiny_dataset
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score

from kzoo.demo import baselines
from kzoo.demo.baselines import Baseline
from kzoo.demo.questions import load_data
from kzoo.demo.training import texts_per_second


def test_majority_by_hand():
    found = baselines.majority(tiny_dataset())
    assert found.predicted.tolist() == [0, 0, 0] and found.remark == "always “file”"
    score = baselines.score("m", np.array([0, 1, 1]), found.predicted)
    assert score.accuracy == pytest.approx(1 / 3)
    assert score.macro_f1 == pytest.approx((2 * 1 / (2 * 1 + 2) + 0) / 2)


def test_tfidf_is_scikit_learns():
    data = tiny_dataset()
    found = baselines.tfidf(data)
    words = TfidfVectorizer(sublinear_tf=True).fit(data["train"].texts)
    model = LogisticRegression(C=10).fit(words.transform(data["train"].texts), data["train"].labels)
    expected = model.predict(words.transform(data["test"].texts))
    np.testing.assert_array_equal(found.predicted, expected)
    # All strengths are right about the two validation rows; the first is taken.
    assert found.remark == "8 words, C=10 chosen on the validation split"


def test_scores_are_scikit_learns():
    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 5, 200), rng.integers(0, 5, 200)
    score = baselines.score("x", true, predicted, "r")
    assert score.accuracy == pytest.approx(accuracy_score(true, predicted))
    assert score.macro_f1 == pytest.approx(f1_score(true, predicted, average="macro"))


def test_paired_difference_by_hand():
    true = np.array([0, 1, 2, 0])
    adapter = np.array([0, 1, 2, 1])  # right, right, right, wrong
    baseline = Baseline("b", np.array([0, 0, 0, 0]), "")  # right, wrong, wrong, right
    found = baselines.compare(true, adapter, baseline)
    assert found.difference == pytest.approx(1 / 4)  # 0 + 1 + 1 - 1
    assert found.standard_error == pytest.approx(np.sqrt((3 / 4 - 1 / 16) / 4))
    assert found.beaten and not found.clear


def test_a_part_of_the_documents_keeps_the_shares():
    whole, note = load_data(None, 0)
    assert note is None
    part, note = load_data(240, 0)
    assert len(part["train"]) == 240 and part.label_names == whole.label_names
    shares = [np.bincount(d["train"].labels) / len(d["train"]) for d in (whole, part)]
    np.testing.assert_allclose(*shares, atol=1 / 240)
    assert f"240 of {len(whole['train']):,} train rows" in note
    again, other = load_data(240, 0)[0], load_data(240, 1)[0]
    assert again["train"].ids == part["train"].ids != other["train"].ids


def test_speed_takes_turns():
    calls = []

    class Fake:
        def __init__(self, name):
            self.name = name

        def predict(self, texts, batch_size, verbose):
            calls.append((self.name, len(texts)))

    found = texts_per_second({"a": Fake("a"), "b": Fake("b")}, ["x"] * 7, rounds=3)
    assert calls == [("a", 7), ("b", 7)] * 4 and set(found) == {"a", "b"}
    assert all(value > 0 for value in found.values())
