"""Ranking scores against all orders that the scores allow, and scikit-learn."""

import itertools
import math

import numpy as np
import pytest
from sklearn import metrics as sk

from kzoo.metrics import ranking_scores

NAMES = ["nDCG@3", "RR@2", "AP", "R@2"]


def of_order(levels):
    """The four measures of one order, from their definitions."""
    right = [level >= 1 for level in levels]

    def gain(order):
        return sum(level / math.log2(i + 2) for i, level in enumerate(order[:3]) if level > 0)

    ideal = gain(sorted(levels, reverse=True))
    if not any(right):
        return [0.0, 0.0, 0.0, 0.0]
    first = right.index(True)
    precisions = [sum(right[: i + 1]) / (i + 1) for i, yes in enumerate(right) if yes]
    return [
        gain(levels) / ideal,
        1 / (first + 1) if first < 2 else 0.0,
        sum(precisions) / len(precisions),
        sum(right[:2]) / sum(right),
    ]


def test_lowest_over_the_orders_that_ties_allow():
    rng = np.random.default_rng(0)
    for _ in range(60):
        levels, scores = rng.integers(-1, 4, 5), rng.integers(0, 3, 5)
        orders = [
            of_order([int(levels[i]) for i in order])
            for order in itertools.permutations(range(5))
            if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
        ]
        found = ranking_scores([levels], [scores], NAMES)
        assert list(found) == NAMES
        np.testing.assert_allclose(list(found.values()), np.min(orders, axis=0), atol=1e-12)


def test_equal_scikit_learn_without_ties():
    rng = np.random.default_rng(1)
    levels, scores = rng.integers(0, 2, (20, 8)), rng.random((20, 8))
    levels[:, 0] = 1
    found = ranking_scores(levels, scores, ["nDCG@5", "MAP"])
    average = [sk.average_precision_score(a, b) for a, b in zip(levels, scores, strict=True)]
    expected = {"nDCG@5": sk.ndcg_score(levels, scores, k=5), "AP": np.mean(average)}
    assert found == pytest.approx(expected, abs=1e-12)


def test_means_over_queries_of_any_length():
    found = ranking_scores([[True, False], [0, 0, 1], [0]], [[0.1, 0.2], [3, 2, 1], [5]])
    assert found["RR@10"] == pytest.approx((1 / 2 + 1 / 3 + 0) / 3)
    # All alike says nothing, wherever the right one is listed.
    for levels in ([1, 0, 0, 0], [0, 0, 0, 1]):
        assert ranking_scores([levels], [[1, 1, 1, 1]], "MRR")["RR"] == 1 / 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ranking_scores([], []), "at least one. Received: 0 and 0"),
        (lambda: ranking_scores([[1]], [[1, 2]]), r"query 0: .*\(1,\) and \(2,\)"),
        (lambda: ranking_scores([[1], [0.5]], [[1], [1]]), "query 1: .*whole numbers.*float64"),
        (lambda: ranking_scores([[1]], [[np.nan]]), "no NaN.*1 NaN"),
        (lambda: ranking_scores([[1]], [[1]], "ndgc@3"), "`metrics`.*Did you mean"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
