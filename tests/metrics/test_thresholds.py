"""Thresholds of label sets: the F1 that is reached is the best of all combinations of cuts."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import f1_score

from kzoo.metrics.thresholds import best_thresholds


def f1_of(marks, true, weights, average):
    """2 TP / (2 TP + FP + FN) over known entries."""
    known = (true >= 0) * weights[:, None]
    hits = (known * ((true > 0) & marks)).sum(axis=0)
    both = (known * ((true > 0) + 1.0 * marks)).sum(axis=0)
    if average == "micro":
        return 2 * hits.sum() / max(both.sum(), 1e-12)
    return np.mean(2 * hits / np.maximum(both, 1e-12))


def best_by_force(true, scores, weights, average):
    """Over every combination of thresholds at a score, or above all of them."""
    cuts = [[*np.unique(column), np.inf] for column in scores.T]
    return max(
        f1_of(scores >= np.asarray(chosen), true, weights, average)
        for chosen in itertools.product(*cuts)
    )


@pytest.mark.parametrize("average", ["macro", "micro"])
@pytest.mark.parametrize("case", ["plain", "ties", "weighted", "missing"])
def test_equal_to_brute_force(average, case):
    rng = np.random.default_rng(["plain", "ties", "weighted", "missing"].index(case))
    for _ in range(6):
        n, classes = 7, 3
        true = rng.integers(0, 2, (n, classes))
        scores = (rng.normal(size=(n, classes)) + 0.7 * true).astype("float32")
        weights = np.ones(n)
        if case == "ties":
            scores = np.round(scores).astype("float32")
        if case == "weighted":
            weights = rng.uniform(0.1, 3, n)
        if case == "missing":
            true[rng.random(true.shape) < 0.3] = -1
            true[0], true[1] = 1, 0
        found = best_thresholds(true, scores, average, weights)
        reached = f1_of(scores >= found, true, weights, average)
        assert reached == pytest.approx(best_by_force(true, scores, weights, average), abs=1e-9)
        if case != "missing":
            options = {"average": average, "sample_weight": weights, "zero_division": 0}
            assert reached == pytest.approx(f1_score(true, scores >= found, **options))


def test_the_averages_are_different_problems():
    """A class that costs more in the sum than it gives is given up for micro-F1 only."""
    true = np.asarray([[1, 0]] * 5 + [[0, 0]] * 14 + [[0, 1]])
    scores = np.zeros((20, 2), "float32")
    scores[:5, 0], scores[:, 1] = 3.0, np.r_[np.linspace(1, 2, 19), 0.5]
    macro, micro = (best_thresholds(true, scores, average) for average in ("macro", "micro"))
    assert (scores[:, 1] >= macro[1]).sum() == 20
    assert (scores[:, 1] >= micro[1]).sum() == 0
    ones = np.ones(20)
    for found, average in ((macro, "macro"), (micro, "micro")):
        best = best_by_force(true, scores, ones, average)
        assert f1_of(scores >= found, true, ones, average) == pytest.approx(best)


def test_where_a_threshold_lies():
    true = np.asarray([[1, 0, 0, 1, -1], [0, 1, 0, 1, -1], [0, 1, 0, 1, -1]])
    near = np.nextafter(np.float32(0.3), np.float32(1))
    scores = np.asarray(
        [[2.0, 0.3, 5.0, -1.0, 9.0], [1.0, near, 6.0, -2.0, 9.0], [-3.0, near, -7.0, 4.0, 9.0]],
        "float32",
    )
    middle, apart, unseen, all_of_them, unknown = best_thresholds(true, scores)
    assert middle == 1.5  # half-way between 2 and 1
    assert np.float32(0.3) < apart <= near  # no float32 lies between
    assert unseen == 0.0 and unknown == 0.0  # no known positive: F1 says nothing
    assert all_of_them == -2.0  # as near to neutral as can be
    assert best_thresholds(true, scores, neutral=0.7)[2] == np.float32(0.7)
    assert best_thresholds([[1], [1]], [[3.0], [4.0]])[0] == 0.0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([[1, 0]], [[0.1]]), "one shape"),
        (([[1]], [[0.1]], "samples"), "`average`"),
        (([[1]], [[0.1]], "macro", [1, 2]), "`sample_weight`"),
        (([[1]], [[np.nan]]), "finite"),
    ],
)
def test_bad_input(arguments, said):
    with pytest.raises(ValueError, match=said):
        best_thresholds(*arguments)
