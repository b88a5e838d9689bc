"""The numpy scores against scikit-learn and scipy."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from kzoo import metrics

RNG = np.random.default_rng(3)
# Class 4 occurs in neither, class 6 only in the predictions, class 0 only in the labels.
TRUE = RNG.choice([0, 1, 2, 3, 5], 200)
PRED = np.where(RNG.random(200) < 0.6, np.where(TRUE == 0, 1, TRUE), RNG.choice([1, 2, 6], 200))


def test_classification_scores_equal_sklearn():
    assert set(np.r_[TRUE, PRED]) == {0, 1, 2, 3, 5, 6} and 0 not in PRED and 6 not in TRUE
    assert metrics.accuracy(TRUE, PRED) == pytest.approx(sk.accuracy_score(TRUE, PRED), abs=1e-15)
    expected = sk.f1_score(TRUE, PRED, average="macro")
    assert metrics.macro_f1(TRUE, PRED) == pytest.approx(expected, abs=1e-12)
    # Averaging over the absent class 4 too would be another number.
    assert abs(expected - sk.f1_score(TRUE, PRED, average="macro", labels=range(7))) > 0.01
    matrix = metrics.confusion_matrix(TRUE, PRED, num_classes=8)
    np.testing.assert_array_equal(matrix, sk.confusion_matrix(TRUE, PRED, labels=range(8)))


@pytest.mark.parametrize("positive", [0, 1])
def test_binary_f1_equals_sklearn(positive):
    true, pred = RNG.integers(0, 2, 50), RNG.integers(0, 2, 50)
    expected = sk.f1_score(true, pred, pos_label=positive)
    assert metrics.binary_f1(true, pred, positive) == pytest.approx(expected, abs=1e-15)


def test_binary_f1_of_a_class_that_never_occurs_is_zero():
    assert metrics.binary_f1([0, 0], [0, 0]) == 0.0


def test_correlations_equal_scipy_with_ties():
    x = RNG.integers(0, 6, 100) / 2.0
    y = x + RNG.integers(-3, 4, 100)
    assert metrics.pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
    assert metrics.spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert metrics.spearman([1, 2, 3], [1, 8, 27]) == pytest.approx(1.0, abs=1e-15)
    assert np.isnan(metrics.spearman([0.1] * 7, [1, 2, 3, 4, 5, 6, 7]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.accuracy([0, 1], [0]), r"`y_true` and `y_pred`.*\(2,\) and \(1,\)"),
        (lambda: metrics.macro_f1([], []), "not empty"),
        (lambda: metrics.accuracy([0, 1], [0.2, 0.8]), "`y_pred`.*float64"),
        (lambda: metrics.macro_f1([0, -1], [0, 0]), "-1 to 0"),
        (lambda: metrics.confusion_matrix([0, 3], [0, 1], 3), "0 to 3; they must be 0 to 2"),
        (lambda: metrics.pearson([1.0], [1.0]), "2 or more"),
        (lambda: metrics.spearman([1.0, np.nan], [1.0, 2.0]), "`x`.*finite.*1 values"),
    ],
)
def test_bad_input_names_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_numpy_functions_do_not_import_keras():
    code = (
        "import sys; from kzoo.metrics import macro_f1, spearman; import kzoo.datasets;"
        "bad = {'keras', 'tensorflow', 'tensorflow_datasets', 'pyarrow'} & set(sys.modules);"
        "assert not bad, bad; from kzoo.metrics import MacroF1; assert 'keras' in sys.modules;"
        "assert macro_f1([0, 1], [0, 1]) == 1.0"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
