"""Tests of significance: equal to scipy's, and right on what is known."""

import sys

import numpy as np
import pytest

from retrieval_index.errors import ArgumentError
from retrieval_index.evaluation.comparison import find_test, holm, randomization_test, t_test


def differences(seed, count, shift):
    rng = np.random.default_rng(seed)
    values = rng.normal(shift, 0.3, count)
    values[rng.random(count) < 0.2] = 0.0
    return values.round(3)


@pytest.mark.parametrize("count", [2, 3, 8, 13])
def test_exact_where_all_signings_are_few(count):
    stats = pytest.importorskip("scipy.stats")
    for seed in range(5):
        values = differences(seed, count, 0.1)
        if not values.any():
            continue
        reference = stats.permutation_test(
            (values,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=False
        )
        assert randomization_test(values) == pytest.approx(reference.pvalue, abs=1e-12)


@pytest.mark.parametrize(("count", "shift"), [(40, 0.05), (40, 0.15), (300, 0.0), (300, 0.03)])
def test_random_signings_agree_with_scipy_and_the_t_test(count, shift):
    stats = pytest.importorskip("scipy.stats")
    values = differences(7, count, shift)
    p = randomization_test(values, resamples=20_000)
    reference = stats.permutation_test(
        (values,), lambda x, axis: x.mean(axis), permutation_type="samples",
        n_resamples=20_000, vectorized=True, rng=1, batch=2000,
    ).pvalue  # fmt: skip
    error = 5 * np.sqrt(2 * max(p * (1 - p), 1e-5) / 20_000)
    assert p == pytest.approx(reference, abs=error)
    assert p == pytest.approx(t_test(values), abs=0.02)  # alike for so many queries


def test_seed_and_sign():
    values = differences(3, 60, 0.06)
    assert randomization_test(values, seed=5) == randomization_test(values, seed=5)
    assert randomization_test(values, seed=5) != randomization_test(values, seed=6)
    assert randomization_test(-values, seed=5) == randomization_test(values, seed=5)


def test_by_hand():
    # Of 16 signings of four equal differences, two are as far from 0.
    assert randomization_test([0.1] * 4) == 2 / 16
    assert randomization_test([0.1] * 4 + [0.0] * 90) == 2 / 16
    assert randomization_test([0.1, -0.1]) == 1.0
    assert randomization_test([0.0, 0.0]) == t_test([0.0, 0.0]) == 1.0
    # Sums that differ in the last bit only are as extreme as the one seen.
    assert randomization_test([0.1, 0.2, 0.3, 0.6]) == 2 / 16
    assert randomization_test([0.3, -0.1, -0.2]) == 1.0
    # Never 0, however clear.
    assert randomization_test([1.0] * 50, resamples=999) == 1 / 1000
    assert t_test([0.25] * 5) == 0.0


def test_false_alarms_are_as_rare_as_promised():
    rng = np.random.default_rng(0)
    alarms = sum(
        randomization_test(rng.normal(size=30), resamples=500, seed=i) < 0.05 for i in range(400)
    )
    assert 8 <= alarms <= 34  # 20 expected; five standard deviations either side would be 0..42


def test_t_test_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    first, second = np.random.default_rng(1).random((2, 25))
    assert t_test(first - second) == pytest.approx(stats.ttest_rel(first, second).pvalue, abs=1e-12)
    with pytest.raises(ArgumentError, match="at least two"):
        t_test([0.5])


def test_without_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ArgumentError, match="pip install scipy"):
        t_test([0.1, 0.2])


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_bad_arguments():
    for bad in ([], [[0.1]], [float("nan")]):
        with pytest.raises(ArgumentError, match="`differences`"):
            randomization_test(bad)
    with pytest.raises(ArgumentError, match="`test` must be 'randomization' or 't'"):
        find_test("wilcoxon", resamples=10, seed=0)
