"""Hybrid search: the order of ties, and that scores say the order."""

import numpy as np
import pytest

from retrieval_index.searching.hybrid import Hybrid


def ranking(*hits):
    numbers = np.array([number for number, _ in hits], dtype=np.int64)
    return np.array([score for _, score in hits], dtype=np.float32), numbers


def test_ties_go_to_the_lexical_ranking():
    dense = ranking((5, 0.9), (2, 0.8), (9, 0.7))
    lexical = ranking((2, 3.0), (7, 2.0), (1, 1.0))
    scores, numbers = Hybrid().fuse(dense, lexical, 10)
    # 1 and 9 are third in one ranking and absent in the other: the same reciprocal rank.
    assert numbers.tolist() == [2, 5, 7, 1, 9]
    exact = [1 / 61 + 1 / 62, 1 / 61, 1 / 62, 1 / 63, 1 / 63]
    np.testing.assert_allclose(scores, exact, rtol=1e-6)
    assert (np.diff(scores) < 0).all()


@pytest.mark.parametrize("method", ["rrf", "min-max", "z-score"])
def test_scores_fall_strictly_and_a_smaller_k_is_the_beginning(method):
    rng = np.random.default_rng(0)
    for _ in range(50):
        lists = []
        for _ in range(2):
            numbers = rng.permutation(30)[: rng.integers(0, 12)]
            scores = np.sort(rng.integers(1, 6, len(numbers)).astype(np.float32))[::-1]
            lists.append((scores, numbers))
        scores, numbers = Hybrid(method).fuse(*lists, 100)
        assert set(numbers) == set(lists[0][1]) | set(lists[1][1])
        assert (np.diff(scores) < 0).all()
        few = Hybrid(method).fuse(*lists, 4)
        assert few[1].tolist() == numbers[:4].tolist() and few[0].tolist() == scores[:4].tolist()


def test_one_empty_ranking():
    dense = ranking((5, 0.9), (2, 0.8))
    assert Hybrid().fuse(dense, ranking(), 5)[1].tolist() == [5, 2]
    assert Hybrid().fuse(ranking(), dense, 1)[1].tolist() == [5]
    assert len(Hybrid().fuse(ranking(), ranking(), 5)[1]) == 0
