"""Fusion of rankings: values worked out by hand and against plain loops."""

import math

import numpy as np
import pytest

from retrieval_index.errors import ArgumentError
from retrieval_index.fusion import (
    METHODS,
    MinMax,
    ReciprocalRank,
    ZScore,
    find_method,
    fuse,
    fuse_runs,
)

ONE = (np.array([3, 1, 2]), np.array([9.0, 5.0, 1.0]))
TWO = (np.array([1, 7]), np.array([0.9, 0.8]))


def as_dict(result):
    return dict(zip(result[0].tolist(), result[1].tolist(), strict=True))


def test_reciprocal_ranks_are_those_of_the_paper():
    assert as_dict(fuse([ONE, TWO])) == pytest.approx(
        {1: 1 / 62 + 1 / 61, 3: 1 / 61, 7: 1 / 62, 2: 1 / 63}
    )
    assert as_dict(fuse([ONE, TWO], ReciprocalRank(k=1), [2, 1])) == pytest.approx(
        {1: 2 / 3 + 1 / 2, 3: 2 / 2, 7: 1 / 3, 2: 2 / 4}
    )


def test_min_max_gives_a_missing_document_what_the_lowest_hit_has():
    assert as_dict(fuse([ONE, TWO], "min-max", [0.5, 2])) == pytest.approx(
        {3: 0.5, 1: 0.25 + 2, 2: 0, 7: 0}
    )


def test_z_scores_give_a_missing_document_the_lowest():
    high = 4 / math.sqrt(32 / 3)  # mean 5, deviation sqrt((16 + 0 + 16) / 3)
    assert as_dict(fuse([ONE, TWO], "z-score")) == pytest.approx(
        {3: high - 1, 1: 0 + 1, 2: -high - 1, 7: -high - 1}
    )


@pytest.mark.parametrize("scores", [[4.0], [4.0, 4.0], [0.0, 0.0], [-2.0]])
def test_a_hit_is_worth_more_than_none_also_where_all_scores_are_equal(scores):
    for name in METHODS:
        values, missing = find_method(name).values(np.array(scores))
        assert (values > missing).all()


@pytest.mark.parametrize("method", sorted(METHODS))
def test_fusion_equals_a_plain_loop(method):
    rng = np.random.default_rng(0)
    rankings, weights = [], [0.7, 0.0, 1.9]
    for size in (40, 30, 25):
        scores = np.sort(rng.normal(size=size).astype(np.float32))[::-1]
        rankings.append((rng.permutation(60)[:size], scores))
    expected = dict.fromkeys(set(rankings[0][0].tolist()) | set(rankings[2][0].tolist()), 0.0)
    for (ids, scores), weight in zip(rankings, weights, strict=True):
        values, missing = METHODS[method]().values(scores.astype(np.float64))
        own = dict(zip(ids.tolist(), values.tolist(), strict=True))
        for document in expected:
            expected[document] += weight * own.get(document, missing)
    ids, scores = fuse(rankings, method, weights)
    assert dict(zip(ids.tolist(), scores.tolist(), strict=True)) == pytest.approx(expected)
    assert ids.dtype == np.int64 and scores.dtype == np.float64
    pairs = list(zip((-scores).tolist(), ids.tolist(), strict=True))
    assert pairs == sorted(pairs)
    short = fuse(rankings, method, weights, k=7)
    np.testing.assert_array_equal(short[0], ids[:7])
    np.testing.assert_array_equal(short[1], scores[:7])


@pytest.mark.parametrize("method", ["min-max", "z-score"])
def test_score_fusion_does_not_ask_for_the_scale_of_the_scores(method):
    moved = (ONE[0], ONE[1] * 1000 - 77)
    np.testing.assert_allclose(
        fuse([ONE, TWO], method)[1], fuse([moved, TWO], method)[1], rtol=1e-12, atol=1e-12
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", sorted(METHODS))
def test_the_largest_and_smallest_scores_give_finite_values(method):
    for scores in ([1e308, -1e308], [1e-320, 0.0], [3e38, 0.0]):
        _, fused = fuse([(np.array([1, 2]), np.array(scores)), TWO], method)
        assert np.isfinite(fused).all()


def test_equal_scores_are_ordered_by_id():
    ids, scores = fuse([(np.array([9, 4]), np.array([2.0, 1.0])), (np.array([4, 9]), np.ones(2))])
    assert ids.tolist() == [4, 9] and scores[0] == scores[1]
    ids, _ = fuse([(np.array([5]), np.ones(1)), (np.array([2]), np.ones(1))], "min-max")
    assert ids.tolist() == [2, 5]


def test_empty_rankings_and_rankings_without_weight_say_nothing():
    none = (np.array([]), np.array([]))
    assert [len(part) for part in fuse([none, none])] == [0, 0]
    for method in METHODS:
        alone = as_dict(fuse([TWO], method))
        assert as_dict(fuse([none, TWO], method)) == alone
        assert as_dict(fuse([ONE, TWO], method, [0, 1])) == alone


def test_runs_are_fused_query_by_query_in_the_order_of_trec_eval():
    runs = [{"q1": {"a": 1.0, "b": 1.0, "c": 3.0}, "q2": {"x": 2.0}}, {"q1": {"d": 0.5}, "q3": {}}]
    fused = fuse_runs(runs)
    assert list(fused) == ["q1", "q2", "q3"]
    # Equal scores: trec_eval ranks the last id first, so "b" is second and "a" third.
    assert fused["q1"] == pytest.approx({"c": 1 / 61, "d": 1 / 61, "b": 1 / 62, "a": 1 / 63})
    assert list(fused["q1"]) == ["d", "c", "b", "a"]
    assert fused["q2"] == {"x": 1 / 61} and fused["q3"] == {}
    assert list(fuse_runs(runs, k=2)["q1"]) == ["d", "c"]


def test_runs_may_differ_by_less_than_trec_eval_sees():
    (hits,) = fuse_runs([{"q": {"a": 0.1 + 1e-15, "b": 0.1}}]).values()
    assert list(hits) == ["b", "a"]


@pytest.mark.parametrize(
    ("rankings", "options", "word"),
    [
        ([], {}, "`rankings`"),
        ([ONE], {"method": "borda"}, "rrf, min-max, z-score"),
        ([ONE], {"method": ReciprocalRank}, "`method`"),
        ([ONE, TWO], {"weights": [1]}, "`weights`"),
        ([ONE, TWO], {"weights": [1, -1]}, "`weights`"),
        ([ONE, TWO], {"weights": [0, 0]}, "`weights`"),
        ([ONE, TWO], {"weights": [1, math.nan]}, "`weights`"),
        ([ONE], {"k": 0}, "`k`"),
        ([ONE, (np.array([1, 2]), np.array([1.0]))], {}, r"`rankings\[1\]`"),
        ([(np.array([1, 2]), np.array([1.0, 2.0]))], {}, "best first"),
        ([(np.array([1, 2]), np.array([1.0, math.nan]))], {}, "finite"),
        ([(np.array([1, 1]), np.array([1.0, 1.0]))], {}, "once"),
        ([(np.array(["a"]), np.array([1.0]))], {}, "integer"),
    ],
)
def test_wrong_arguments_are_named(rankings, options, word):
    with pytest.raises(ArgumentError, match=word):
        fuse(rankings, **options)


def test_a_rank_constant_below_one_is_refused():
    with pytest.raises(ArgumentError, match="`k`"):
        ReciprocalRank(k=0)


def test_the_registry_returns_methods_with_their_defaults():
    assert find_method("rrf") == ReciprocalRank(60)
    assert find_method("min-max") == MinMax()
    assert find_method(ZScore()) == ZScore()
