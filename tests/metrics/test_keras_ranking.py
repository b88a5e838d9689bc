"""Keras metrics of rankings: equal to `ranking_scores` over batches, with ties and gaps."""

import keras
import numpy as np
import pytest

from kzoo.metrics import NDCG, ReciprocalRank, ranking_scores


def test_equal_ranking_scores_with_ties_and_gaps():
    rng = np.random.default_rng(0)
    for _ in range(20):
        lengths = rng.integers(1, 8, 11)
        levels = [rng.integers(0, 3, n) for n in lengths]
        scores = [rng.integers(-2, 3, n).astype(float) for n in lengths]
        wide = np.full((2, 11, 7), [[[np.nan]], [[-1e9]]])
        for row, n in enumerate(lengths):
            wide[:, row, :n] = levels[row], scores[row]
        for metric, name in ((NDCG(3), "nDCG@3"), (ReciprocalRank(3), "RR@3")):
            for part in (slice(0, 4), slice(4, 11)):
                metric.update_state(wide[0, part], wide[1, part])
            expected = ranking_scores(levels, scores, [name])[name]
            assert float(metric.result()) == pytest.approx(expected, abs=1e-6)


def test_weights_of_queries_and_the_least_relevance():
    true, scores = np.asarray([[0.0, 0.6], [0.7, 0.2]]), np.asarray([[2.0, 1.0], [2.0, 1.0]])
    metric = ReciprocalRank(relevant=0.5)
    metric.update_state(true, scores, [3.0, 1.0])
    assert float(metric.result()) == pytest.approx((3 * 0.5 + 1 * 1) / 4)
    gain = NDCG()
    gain.update_state(true, scores, [3.0, 1.0])
    assert float(gain.result()) == pytest.approx((3 / np.log2(3) + 1) / 4)


@pytest.mark.parametrize("metric", [NDCG(5), ReciprocalRank(5, 0.5, "mine")])
def test_config(metric):
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert type(again) is type(metric)
    assert again.get_config() == metric.get_config()
    assert [NDCG().name, ReciprocalRank().name] == ["ndcg@10", "mrr@10"]
