"""The Keras metric against scikit-learn, compiled and not."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import f1_score

from kzoo.metrics import MacroF1

RNG = np.random.default_rng(5)
CLASSES = 9
# Class 8 occurs in neither, class 7 only in the predictions.
TRUE = RNG.integers(0, 7, 300)
SCORES = RNG.normal(size=(300, CLASSES)).astype("float32") + 2 * np.eye(CLASSES)[TRUE]
SCORES = SCORES.astype("float32")
SCORES[:, 8] = -99
PRED = SCORES.argmax(-1)
WEIGHT = RNG.uniform(0.1, 2, 300).astype("float32")
EXPECTED = f1_score(TRUE, PRED, average="macro")


def feed(metric, step=None, weight=None):
    step = step or metric.update_state
    for start in range(0, len(TRUE), 100):
        part = slice(start, start + 100)
        args = (TRUE[part], SCORES[part]) + (() if weight is None else (weight[part],))
        step(*args)
    return float(metric.result())


def test_the_data_separates_the_conventions():
    assert 7 in PRED and 8 not in PRED
    assert 0.3 < EXPECTED < 0.95
    all_classes = f1_score(TRUE, PRED, average="macro", labels=range(9), zero_division=0)
    assert abs(EXPECTED - all_classes) > 0.01


def test_equals_sklearn_over_batches_and_after_reset():
    metric = MacroF1()
    assert float(metric.result()) == 0.0
    assert feed(metric) == pytest.approx(EXPECTED, abs=1e-6)
    metric.reset_state()
    metric.update_state(TRUE[:50, None], SCORES[:50])
    expected = f1_score(TRUE[:50], PRED[:50], average="macro")
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("num_classes", [None, CLASSES])
@pytest.mark.parametrize("jit", [False, True])
def test_compiled_with_weights(jit, num_classes):
    metric = MacroF1(num_classes)
    if num_classes is None:  # variables cannot be created inside an XLA computation
        metric.update_state(TRUE[:1], SCORES[:1])
        metric.reset_state()
    step = tf.function(metric.update_state, jit_compile=jit)
    expected = f1_score(TRUE, PRED, average="macro", sample_weight=WEIGHT)
    assert abs(expected - EXPECTED) > 1e-3
    assert feed(metric, step, WEIGHT) == pytest.approx(expected, abs=1e-5)


def test_rows_of_weight_zero_do_not_count():
    metric = MacroF1(3)
    logits = np.eye(3, dtype="float32")[[0, 1, 2]]
    metric.update_state([0, 1, -1], logits, sample_weight=[1.0, 1.0, 0.0])
    assert float(metric.result()) == 1.0


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_outside_the_range_gives_nan_until_reset(label):
    metric = MacroF1(3)
    logits = np.eye(3, dtype="float32")
    metric.update_state([0, 1, label], logits)
    assert np.isnan(float(metric.result()))
    metric.reset_state()
    metric.update_state([0, 1, 2], logits)
    assert float(metric.result()) == 1.0


def test_half_precision_predictions_count_beyond_2048():
    metric = MacroF1(2)
    for _ in range(5):
        metric.update_state(np.zeros(1000, "int32"), tf.cast([[1.0, 0.0]] * 1000, tf.float16))
    metric.update_state([1, 1, 0], tf.cast([[1, 0], [0, 1], [1, 0]], tf.bfloat16))
    expected = f1_score([0] * 5000 + [1, 1, 0], [0] * 5000 + [0, 1, 0], average="macro")
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("jit", [False, True])
def test_in_fit_and_saved_with_the_model(jit, tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((CLASSES,))
    model = keras.Model(inputs, keras.layers.Dense(CLASSES)(inputs))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=[MacroF1()], jit_compile=jit)
    history = model.fit(SCORES, TRUE, batch_size=64, verbose=0, validation_data=(SCORES, TRUE))
    pred = model.predict(SCORES, verbose=0).argmax(-1)
    expected = f1_score(TRUE, pred, average="macro")
    assert history.history["val_macro_f1"][0] == pytest.approx(expected, abs=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    result = loaded.evaluate(SCORES, TRUE, verbose=0, return_dict=True)
    assert result["macro_f1"] == pytest.approx(expected, abs=1e-5)


def test_config_round_trip():
    metric = MacroF1(4, name="f1")
    copy = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert isinstance(copy, MacroF1) and (copy.num_classes, copy.name) == (4, "f1")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MacroF1(1), "`num_classes`.*received 1"),
        (lambda: MacroF1().update_state([0], [[0.3]]), "`num_classes`.*received 1"),
        (lambda: MacroF1(3).update_state([0], [[0.1, 0.9]]), "`y_pred` must have 3 classes"),
        (lambda: MacroF1(2).update_state([[0, 1]], [[0.1, 0.9]]), "`y_true`.*not one-hot"),
        (lambda: MacroF1(2).update_state([0, 1], [0.1, 0.9]), "`y_pred` must have shape"),
    ],
)
def test_bad_shapes(call, message):
    with pytest.raises(ValueError, match=message):
        call()
