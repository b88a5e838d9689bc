"""Length buckets: every row once, few shapes, least padding."""

import itertools

import numpy as np
import pytest

from kzoo.reads.buckets import (
    LADDER,
    choose_buckets,
    ordered_batches,
    shuffled_batches,
)


def padding(lengths, buckets):
    return sum(min(b for b in buckets if b >= n) for n in lengths)


@pytest.mark.parametrize("seed", range(5))
def test_buckets_are_the_best_of_all_subsets(seed):
    rng = np.random.default_rng(seed)
    lengths = np.minimum(rng.gamma(2, 20, 200).astype(int) + 2, 128)
    buckets = choose_buckets(lengths, 128, most=3)
    steps = [step for step in LADDER if step < 128] + [128]
    best = min(
        padding(lengths, subset)
        for size in (1, 2, 3)
        for subset in itertools.combinations(steps, size)
        if max(subset) >= lengths.max()
    )
    assert padding(lengths, buckets) == best
    assert len(buckets) <= 3 and list(buckets) == sorted(buckets)


def test_buckets_of_odd_data():
    assert choose_buckets(np.array([], int), 64) == (8,)
    assert choose_buckets(np.array([5, 5, 5]), 64) == (8,)
    assert choose_buckets(np.array([100]), 100) == (100,)
    assert choose_buckets(np.array([500]), 500)[-1] == 500


@pytest.mark.parametrize("n", [1, 31, 32, 33, 200])
def test_shuffled_batches_hold_every_row_once(n):
    lengths = np.random.default_rng(0).integers(1, 65, n)
    buckets = choose_buckets(lengths, 64)
    orders = []
    for epoch in range(3):
        batches = shuffled_batches(lengths, buckets, 32, np.random.default_rng((7, epoch)))
        rows = np.concatenate([rows for rows, _ in batches])
        assert sorted(rows) == list(range(n))
        orders.append(rows.tolist())
        for rows, length in batches:
            assert length in buckets and lengths[rows].max() <= length
        assert all(len(rows) == 32 for rows, _ in batches[:-1])
        shapes = {(len(rows), length) for rows, length in batches}
        assert len(shapes) <= len(buckets) + 1
    assert n == 1 or orders[0] != orders[1]
    again = shuffled_batches(lengths, buckets, 32, np.random.default_rng((7, 0)))
    assert np.concatenate([rows for rows, _ in again]).tolist() == orders[0]


def test_ordered_batches_keep_the_order():
    lengths = np.array([3, 60, 9, 1, 33])
    batches = ordered_batches(lengths, (16, 64), 2)
    assert [(rows.tolist(), length) for rows, length in batches] == [
        ([0, 1], 64),
        ([2, 3], 16),
        ([4], 64),
    ]
    backwards = ordered_batches(lengths, (16, 64), 2, np.array([4, 3, 2, 1, 0]))
    assert backwards[0][0].tolist() == [4, 3]


def test_every_length_pads_only_the_left_over():
    from kzoo.reads.buckets import every_length

    lengths = np.array([3, 3, 5, 9, 9, 9])
    assert every_length(lengths, 64) == (3, 5, 9)
    assert every_length(np.array([], int), 64) == (64,)
    batches = shuffled_batches(lengths, (3, 5, 9), 2, np.random.default_rng(0))
    assert sorted(length for _, length in batches) == [3, 9, 9]
