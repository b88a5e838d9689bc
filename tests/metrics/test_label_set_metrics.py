"""Metrics of label sets over batches against scikit-learn on the whole, compiled and not."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import f1_score, label_ranking_average_precision_score

from kzoo.metrics.keras_label_sets import LabelRankingPrecision, LabelSetF1

RNG = np.random.default_rng(11)
N, C = 90, 6
TRUE = (RNG.random((N, C)) < [0.5, 0.4, 0.3, 0.2, 0.1, 0.0]).astype("int8")
TRUE[:4], TRUE[4:6] = 0, 1  # rows with no label, and with every one
SCORES = np.round(RNG.normal(size=(N, C)) + TRUE, 1).astype("float32")  # with ties
SCORES[:, 5] = -9.0  # a class without labels and predictions
WEIGHTS = RNG.uniform(0, 2, N).astype("float32")
CUTS = [-0.5, 0.0, 0.5, 0.7, 1.0, 0.0]
MASKED = np.where(RNG.random((N, C)) < 0.3, -1, TRUE).astype("int8")
MASKED[7] = -1


def fed(metric, true=TRUE, weights=None, jit=None):
    step = metric.update_state if jit is None else tf.function(metric.update_state, jit_compile=jit)
    for part in np.split(np.arange(N), 6):
        more = () if weights is None else (weights[part],)
        step(true[part], SCORES[part], *more)
    return float(metric.result())


@pytest.mark.parametrize("average", ["micro", "macro"])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("jit", [None, False, True])
def test_f1_is_sklearns(average, weights, jit):
    marks = np.asarray(np.asarray(CUTS, "float32") <= SCORES, "int8")
    options = {"average": average, "sample_weight": weights, "zero_division": 0}
    expected = f1_score(TRUE, marks, **options)
    found = fed(LabelSetF1(C, average, CUTS), weights=weights, jit=jit)
    assert found == pytest.approx(expected, abs=1e-6)
    other = f1_score(TRUE, (SCORES >= 0).astype("int8"), **options)
    assert abs(other - expected) > 1e-3  # the thresholds count
    assert fed(LabelSetF1(C, average), weights=weights) == pytest.approx(other, abs=1e-6)


def test_f1_of_known_labels():
    marks, known = SCORES >= 0, MASKED >= 0
    w = np.broadcast_to(WEIGHTS[:, None], TRUE.shape)
    micro = f1_score(MASKED[known], marks[known], sample_weight=w[known])
    by_class = [
        f1_score(MASKED[k, c], marks[k, c], sample_weight=w[k, c], zero_division=0)
        for c, k in enumerate(known.T)
    ]
    assert fed(LabelSetF1(C, "micro"), MASKED, WEIGHTS) == pytest.approx(micro, abs=1e-6)
    assert fed(LabelSetF1(C, "macro"), MASKED, WEIGHTS) == pytest.approx(
        np.mean(by_class), abs=1e-6
    )


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("jit", [None, False, True])
def test_ranking_is_sklearns(weights, jit):
    expected = label_ranking_average_precision_score(TRUE, SCORES, sample_weight=weights)
    found = fed(LabelRankingPrecision(), weights=weights, jit=jit)
    assert found == pytest.approx(expected, abs=1e-6)


def test_ranking_of_known_labels():
    """Each row as if it had no other labels than those that are known; none: it does not count."""
    rows, weights = [], []
    for true, scores, weight in zip(MASKED, SCORES, WEIGHTS, strict=True):
        known = true >= 0
        if known.sum() == 1:  # scikit-learn asks for two columns; one is always ranked right
            rows.append(1.0)
        elif known.any():
            row = label_ranking_average_precision_score(true[known][None], scores[known][None])
            rows.append(row)
        else:
            continue
        weights.append(weight)
    assert len(rows) < N
    expected = np.average(rows, weights=weights)
    assert fed(LabelRankingPrecision(), MASKED, WEIGHTS) == pytest.approx(expected, abs=1e-6)


def test_one_class():
    assert float(LabelRankingPrecision()([[1], [0]], [[0.2], [0.3]])) == 1.0
    assert float(LabelSetF1(1)([[1], [1]], [[0.2], [-0.3]])) == pytest.approx(2 / 3)


def test_reset_and_config():
    metric = LabelSetF1(C, "macro", CUTS)
    fed(metric)
    metric.reset_state()
    assert float(metric.result()) == 0.0
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert fed(again) == fed(metric) and again.name == "macro_f1"
    ranking = keras.metrics.deserialize(keras.metrics.serialize(LabelRankingPrecision()))
    assert ranking.name == "lrap"
    with pytest.raises(ValueError, match="`average`"):
        LabelSetF1(3, "samples")
