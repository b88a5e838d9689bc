"""The losses against published numbers, identities and NumPy."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from distillation_toys import CLASSES, FEATURES, dense, log_softmax, soft_kl

from kzoo.distillation import (
    HiddenMSE,
    LogitsMSE,
    OutputLoss,
    SampleLoss,
    SoftTargetCrossEntropy,
    SoftTargetKL,
)

T_LOGITS = np.array([[2.0, -1.0, 0.5]], "float32")
S_LOGITS = np.array([[-0.3, 0.8, 0.1]], "float32")


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [(1.0, 0.969294), (2.0, 4 * 0.312464), (3.0, 1.326976), (100.0, 1.402945)],
)
def test_kl_equals_the_oracle(temperature, expected):
    value = SoftTargetKL(temperature).compute_loss(T_LOGITS, S_LOGITS)
    assert float(value) == pytest.approx(expected, abs=2e-5 if temperature < 50 else 2e-3)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_single_output_is_a_binary_logit(temperature):
    """KL of Bernoulli distributions, by its definition."""
    t, s = np.array([[2.0], [-1.5], [0.3]]), np.array([[-0.5], [1.0], [0.3]])
    p, q = 1 / (1 + np.exp(-t / temperature)), 1 / (1 + np.exp(-s / temperature))
    kl = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    entropy = -p * np.log(p) - (1 - p) * np.log(1 - p)
    for loss, expected in ((SoftTargetKL, kl), (SoftTargetCrossEntropy, kl + entropy)):
        value = loss(temperature).compute_loss(t, s)
        assert float(value) == pytest.approx(temperature**2 * expected.mean(), rel=1e-5)
    assert kl.mean() > 0.1


def test_default_temperature_is_two():
    value = SoftTargetKL().compute_loss(T_LOGITS, S_LOGITS)
    assert float(value) == pytest.approx(1.249855, abs=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_gradient_is_temperature_times_difference_of_probabilities(temperature):
    s = tf.Variable(S_LOGITS)
    with tf.GradientTape() as tape:
        loss = SoftTargetKL(temperature).compute_loss(T_LOGITS, s)
    p = np.exp(log_softmax(T_LOGITS / temperature))
    q = np.exp(log_softmax(S_LOGITS / temperature))
    np.testing.assert_allclose(tape.gradient(loss, s), temperature * (q - p), atol=1e-6)


def test_no_gradient_reaches_the_teacher():
    t = tf.Variable(T_LOGITS)
    with tf.GradientTape() as tape:
        loss = SoftTargetKL().compute_loss(t, S_LOGITS)
    assert tape.gradient(loss, t) is None


def test_logits_of_ten_thousand_stay_exact():
    t = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 3.0]], "float32")
    s = tf.Variable(-t)
    with tf.GradientTape() as tape:
        loss = SoftTargetKL(1.0).compute_loss(t, s)
    # The teacher is one-hot, the student gives that class 2e4 less than the largest.
    assert float(loss) == pytest.approx(2e4)
    assert np.isfinite(tape.gradient(loss, s)).all()
    assert float(SoftTargetKL(1.0).compute_loss(t, t)) == 0.0


def test_cross_entropy_is_kl_plus_entropy():
    ce = float(SoftTargetCrossEntropy(1.0).compute_loss(T_LOGITS, S_LOGITS))
    assert ce == pytest.approx(1.590879, abs=1e-5)
    assert ce == pytest.approx(0.969294 + 0.621585, abs=1e-5)
    for temperature in (2.0, 4.0):
        log_p = log_softmax(T_LOGITS / temperature)
        entropy = -(temperature**2) * (np.exp(log_p) * log_p).sum()
        ce = float(SoftTargetCrossEntropy(temperature).compute_loss(T_LOGITS, S_LOGITS))
        kl = float(SoftTargetKL(temperature).compute_loss(T_LOGITS, S_LOGITS))
        assert ce == pytest.approx(kl + entropy, rel=1e-5)


def test_high_temperature_limit_is_centred_mse():
    d = (T_LOGITS - S_LOGITS)[0]
    limit = ((d - d.mean()) ** 2).sum() / (2 * 3)
    assert limit == pytest.approx(1.403333, abs=1e-5)
    assert float(SoftTargetKL(300.0).compute_loss(T_LOGITS, S_LOGITS)) == pytest.approx(
        limit, abs=2e-2
    )
    assert float(LogitsMSE().compute_loss(T_LOGITS, S_LOGITS)) == pytest.approx((d**2).mean())


def test_tokens_with_mask_and_weights_equal_numpy():
    rng = np.random.default_rng(0)
    t, s = rng.normal(size=(2, 4, 5, CLASSES)).astype("float32")
    mask = rng.random((4, 5)) < 0.6
    weight = np.array([0.0, 1.0, 2.0, 0.5], "float32")
    values = soft_kl(t, s)
    loss = SoftTargetKL()
    assert float(loss.compute_loss(t, s)) == pytest.approx(values.mean(), rel=1e-5)
    assert float(loss.compute_loss(t, s, mask=mask)) == pytest.approx(values[mask].mean(), rel=1e-5)
    expected = (values * mask * weight[:, None]).sum() / mask.sum()
    got = loss.compute_loss(t, s, sample_weight=weight, mask=mask)
    assert float(got) == pytest.approx(expected, rel=1e-5)
    got = loss.compute_loss(t, s, sample_weight=mask.astype("float32"))
    assert float(got) == pytest.approx((values * mask).sum() / 20, rel=1e-5)


def test_masked_positions_may_hold_nan_and_an_empty_mask_is_zero():
    t = np.ones((1, 2, 3), "float32")
    t[0, 1] = np.nan
    s = np.zeros((1, 2, 3), "float32")
    assert float(LogitsMSE().compute_loss(t, s, mask=np.array([[True, False]]))) == 1.0
    assert float(LogitsMSE().compute_loss(t, s, mask=np.array([[False, False]]))) == 0.0


def test_the_keras_mask_of_the_student_counts():
    s = keras.layers.Embedding(5, 3, mask_zero=True)(np.array([[1, 2, 0, 0]]))
    t = np.ones((1, 4, 3), "float32")
    values = ((t - s.numpy()) ** 2).mean(-1)
    got = float(LogitsMSE().compute_loss(t, s))
    assert got == pytest.approx(values[:, :2].mean(), rel=1e-5)
    assert got != pytest.approx(values.mean(), rel=1e-3)


def test_weight_shapes_that_do_not_fit_are_refused():
    t = np.zeros((4, 3), "float32")
    assert float(LogitsMSE().compute_loss(t, t + 1, np.full((4, 1), 0.5))) == 0.5
    with pytest.raises(ValueError, match=r"`sample_weight`: received shape \(3,\)"):
        LogitsMSE().compute_loss(t, t, np.ones(3, "float32"))


@pytest.mark.parametrize("bad", [0, -1.0, float("nan"), float("inf"), "2", None, True])
def test_bad_temperature_is_named(bad):
    with pytest.raises(ValueError, match="`temperature`: received"):
        SoftTargetKL(bad)


def test_bad_shapes_and_structures_are_named():
    with pytest.raises(ValueError, match=r"`student_outputs`: received shape \(2, 4\)"):
        SoftTargetKL().validate_outputs(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="`teacher_outputs`: SoftTargetKL compares one tensor"):
        SoftTargetKL().validate_outputs({"a": np.zeros(2)}, np.zeros(2))
    with pytest.raises(ValueError, match="8 wide, the teacher's 16"):
        HiddenMSE().validate_outputs(np.zeros((2, 16)), np.zeros((2, 8)))
    with pytest.raises(ValueError, match="`project`: received 'yes'"):
        HiddenMSE(project="yes")


@pytest.mark.parametrize(
    "loss",
    [
        SoftTargetKL(3.0),
        SoftTargetCrossEntropy(1.5),
        LogitsMSE(),
        HiddenMSE("a.b", "c", project=False, seed=4),
        OutputLoss("mse"),
        OutputLoss(keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2)),
    ],
)
def test_config_round_trip_keeps_the_value(loss):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    a, b = (float(x.compute_loss(T_LOGITS, S_LOGITS)) for x in (loss, again))
    assert a == b


def test_they_plug_into_the_stock_distiller():
    teacher, student = dense(8, "t", 1), dense(8, "s", 2)
    x = np.random.default_rng(0).normal(size=(16, FEATURES)).astype("float32")
    y = np.zeros(16, "int64")
    stock = keras.distillation.Distiller(
        teacher, student, [SoftTargetKL(2.0), HiddenMSE("hidden", "hidden")], [1.0, 0.0], 0.0
    )
    stock.compile("sgd", "sparse_categorical_crossentropy")
    logs = stock.evaluate(x, y, verbose=0, return_dict=True)
    expected = soft_kl(teacher.predict(x, verbose=0), student.predict(x, verbose=0)).mean()
    assert logs["loss"] == pytest.approx(expected, rel=1e-4)


def test_upstream_bug_stock_default_takes_kl_of_raw_logits():
    """Documents Keras 3.15; when this fails, the warning in stock.py can go."""
    t, s = keras.ops.convert_to_tensor(T_LOGITS), keras.ops.convert_to_tensor(S_LOGITS)
    stock = keras.distillation.LogitsDistillation(temperature=3.0)
    right = keras.distillation.LogitsDistillation(3.0, loss=keras.losses.KLDivergence())
    assert float(right.compute_loss(t, s)) == pytest.approx(1.326976, abs=1e-4)
    assert float(SoftTargetKL(3.0).compute_loss(t, s)) == pytest.approx(1.326976, abs=1e-4)
    assert float(stock.compute_loss(t, s)) == pytest.approx(10.74, abs=0.01)


def test_importing_the_package_imports_no_tensorflow():
    code = (
        "import sys, kzoo.distillation as d; assert 'SoftTargetKL' in dir(d); "
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_loss_without_values_says_so():
    with pytest.raises(NotImplementedError, match="SampleLoss must implement `values`"):
        SampleLoss().compute_loss(T_LOGITS, S_LOGITS)
