"""Scores of pairs equal brute force, and what sentence-transformers' evaluator finds."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from kzoo.metrics import pair_scores, reciprocal_rank

RNG = np.random.default_rng(0)


def brute(labels, scores):
    """Every threshold that could make a difference, one after another."""
    best = {"accuracy": 0.0, "f1": 0.0}
    for threshold in [np.inf, *scores]:
        said = scores >= threshold
        hits = (said & (labels == 1)).sum()
        best["accuracy"] = max(best["accuracy"], np.mean(said == (labels == 1)))
        if hits:
            best["f1"] = max(best["f1"], 2 * hits / (said.sum() + labels.sum()))
    return best


CASES = [
    (RNG.integers(0, 2, 40), RNG.normal(size=40)),
    (RNG.integers(0, 2, 60), RNG.integers(0, 6, 60) / 5),  # many equal ones
    (np.array([1, 0, 0]), np.array([0.1, 0.5, 0.9])),  # no threshold helps
    (np.array([0, 1]), np.array([0.3, 0.3])),
]


@pytest.mark.parametrize(("labels", "scores"), CASES)
def test_best_thresholds(labels, scores):
    found = pair_scores(labels, scores)
    expected = brute(labels, scores)
    assert {key: found[key] for key in expected} == pytest.approx(expected)
    assert found["ap"] == pytest.approx(average_precision_score(labels, scores))
    # The thresholds give what they promise.
    assert np.mean((scores >= found["accuracy_threshold"]) == labels) == found["accuracy"]
    said = scores >= found["f1_threshold"]
    hits = (said & (labels == 1)).sum()
    assert found["precision"] == pytest.approx(hits / said.sum())
    assert found["recall"] == pytest.approx(hits / labels.sum())


@pytest.mark.parametrize(("labels", "scores"), CASES)
def test_equal_to_sentence_transformers(labels, scores):
    library = pytest.importorskip("sentence_transformers.sentence_transformer.evaluation")
    theirs = library.BinaryClassificationEvaluator
    found = pair_scores(labels, scores)
    accuracy, threshold = theirs.find_best_acc_and_threshold(scores, labels, True)
    assert (found["accuracy"], found["accuracy_threshold"]) == pytest.approx((accuracy, threshold))
    f1, precision, recall, threshold = theirs.find_best_f1_and_threshold(scores, labels, True)
    ours = [found[key] for key in ("f1", "precision", "recall", "f1_threshold")]
    assert ours == pytest.approx([f1, precision, recall, threshold])


@pytest.mark.parametrize(
    ("labels", "scores", "said"),
    [
        ([1, 0], [0.5], "equally long"),
        ([1, 1], [0.5, 0.1], "some of both"),
        ([1, 2], [0.5, 0.1], "must be 0 and 1"),
        ([1, 0], [0.5, np.nan], "finite"),
    ],
)
def test_bad_pairs(labels, scores, said):
    with pytest.raises(ValueError, match=said):
        pair_scores(labels, scores)


def test_reciprocal_rank_is_brute_force(monkeypatch):
    monkeypatch.setattr("kzoo.metrics.pairs._CHUNK", 3)
    vectors = RNG.normal(size=(8, 3, 5)).astype("float32")
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    expected = []
    for row in unit:
        own = row[0] @ row[1]
        others = [row[0] @ c for other in unit for c in other[1:]]
        expected.append(1 / (1 + sum(score > own + 1e-6 for score in others)))
    np.testing.assert_allclose(reciprocal_rank(vectors), expected)


def test_vectors_that_are_all_alike_gain_nothing():
    np.testing.assert_allclose(reciprocal_rank(np.ones((9, 2, 4))), 1 / 5)
    with pytest.raises(ValueError, match="must have shape"):
        reciprocal_rank(np.ones((9, 4)))
