"""EntityF1 in batches equals the scores of the whole set."""

import keras
import numpy as np
import pytest

from kzoo.metrics.entities import entity_scores
from kzoo.metrics.keras_entity_f1 import EntityF1
from kzoo.metrics.keras_token_accuracy import TokenAccuracy

TAGS = {
    "bio": ["B-x", "B-y", "I-x", "I-y", "O"],
    "iobes": ["O", "B-x", "I-x", "E-x", "S-x", "B-y", "I-y", "L-y", "U-y"],
    "plain": ["O", "x", "y"],
}


def random_rows(scheme, seed):
    """Tags with long runs, at places with gaps between; and predictions that are often right."""
    rng = np.random.default_rng(seed)
    size = len(TAGS[scheme])
    rows = []
    for _ in range(60):
        count = int(rng.integers(1, 9))
        true = rng.integers(0, size, count)
        wrong = rng.random(count) < 0.3
        predicted = np.where(wrong, rng.integers(0, size, count), true)
        rows.append((true, predicted, np.sort(rng.choice(12, count, replace=False))))
    return rows


@pytest.mark.parametrize("scheme", list(TAGS))
def test_it_adds_up_to_the_score_of_the_whole_set(scheme):
    labels = TAGS[scheme]
    rows = random_rows(scheme, 1)
    true = np.full((60, 12), -1)
    logits = np.random.default_rng(2).normal(size=(60, 12, len(labels))).astype("float32")
    for i, (gold, predicted, places) in enumerate(rows):
        true[i, places] = gold
        logits[i, places] = np.eye(len(labels))[predicted] * 9
    metric = EntityF1(labels, scheme)
    for batch in np.split(np.arange(60), [7, 8, 31]):
        metric.update_state(true[batch], logits[batch], np.where(true[batch] < 0, 0.0, 1.0))
    named = [[[labels[t] for t in row[side]] for row in rows] for side in (0, 1)]
    expected = entity_scores(*named, scheme).micro
    assert expected.correct > 10
    assert float(metric.result()) == pytest.approx(expected.f1, abs=1e-6)
    again = EntityF1.from_config(metric.get_config())
    again.update_state(true, logits)
    assert float(again.result()) == pytest.approx(expected.f1, abs=1e-6)


def test_rows_of_weight_0_do_not_count():
    true = np.array([[0, 2, 4], [1, 4, 4]])
    logits = np.eye(5)[np.array([[0, 2, 4], [4, 4, 4]])]
    metric = EntityF1(TAGS["bio"])
    metric.update_state(true, logits)
    assert float(metric.result()) == pytest.approx(2 / 3)
    metric.reset_state()
    metric.update_state(true, logits, np.array([[1.0] * 3, [0.0] * 3]))
    assert float(metric.result()) == 1.0


def test_a_token_counts_the_same_in_batches_of_any_length():
    metric = TokenAccuracy()
    metric.update_state([[0, 1]], np.eye(3)[[[0, 1]]], [[1.0, 1.0]])
    metric.update_state([[0, 1, 2, 0]], np.eye(3)[[[1, 2, 2, 0]]], [[1.0, 1.0, 1.0, 0.0]])
    assert float(metric.result()) == pytest.approx(3 / 5)
    theirs = keras.metrics.SparseCategoricalAccuracy()
    theirs.update_state([[0, 1]], np.eye(3)[[[0, 1]]], [[1.0, 1.0]])
    theirs.update_state([[0, 1, 2, 0]], np.eye(3)[[[1, 2, 2, 0]]], [[1.0, 1.0, 1.0, 0.0]])
    assert float(theirs.result()) != pytest.approx(3 / 5)  # why there is one of our own
    again = TokenAccuracy.from_config(metric.get_config())
    again.update_state([[0, 1]], np.eye(3)[[[0, 2]]])
    assert float(again.result()) == 0.5


def test_it_runs_under_xla():
    import tensorflow as tf

    metric = EntityF1(TAGS["iobes"], "iobes")
    step = tf.function(lambda t, p: metric.update_state(t, p), jit_compile=True)
    step(tf.constant([[1, 3, 0]]), tf.one_hot([[1, 3, 0]], 9))
    assert float(metric.result()) == 1.0
    assert isinstance(keras.saving.serialize_keras_object(metric), dict)
