"""Losses of Classify: focal, class-balanced, smoothed; each against its formula in numpy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import NEGATIVE, POSITIVE

import kzoo
from kzoo.errors import InputError
from kzoo.heads.classify import ClassCrossentropy, Classify, effective_weights

RNG = np.random.default_rng(4)
Y = RNG.integers(0, 5, 30)
Z = (RNG.normal(size=(30, 5)) * 2).astype("float32")
W = RNG.uniform(0, 2, 30).astype("float32")
P = np.exp(Z.astype("float64")) / np.exp(Z.astype("float64")).sum(-1, keepdims=True)
OF_TRUE = P[np.arange(30), Y]


def mean(values, weights=None):
    return float(np.mean(values if weights is None else values * weights))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("weights", [None, W])
def test_focal(gamma, weights):
    """FL(p_t) = -(1 - p_t)^gamma log(p_t)."""
    expected = mean(-((1 - OF_TRUE) ** gamma) * np.log(OF_TRUE), weights)
    assert float(ClassCrossentropy(gamma)(Y, Z, weights)) == pytest.approx(expected, rel=1e-5)


def test_focal_of_two_classes_is_that_of_one_logit():
    """Lin et al. write it with a sigmoid; softmax of (0, z) is the same."""
    z = Z[:, 0]
    two = float(ClassCrossentropy(2.0)(Y > 2, np.stack([np.zeros_like(z), z], axis=1)))
    one = keras.losses.BinaryFocalCrossentropy(gamma=2.0, from_logits=True)
    assert two == pytest.approx(float(one((Y > 2)[:, None], z[:, None])), rel=1e-5)


@pytest.mark.parametrize("share", [0.1, 0.6])
def test_smoothing_is_keras_and_numpys(share):
    target = (1 - share) * np.eye(5)[Y] + share / 5
    expected = mean(-(target * np.log(P)).sum(-1), W)
    found = float(ClassCrossentropy(label_smoothing=share)(Y, Z, W))
    assert found == pytest.approx(expected, rel=1e-5)
    peer = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=share)
    assert found == pytest.approx(float(peer(np.eye(5)[Y], Z, W)), rel=1e-5)


def test_smoothing_spares_classes_that_a_row_does_not_have():
    """`PerRow` fills the logits of a smaller head up with -1e9."""
    wide = np.pad(Z, ((0, 0), (0, 2)), constant_values=-1e9)
    loss = ClassCrossentropy(label_smoothing=0.2)
    assert float(loss(Y, wide)) == pytest.approx(float(loss(Y, Z)), rel=1e-6)


@pytest.mark.parametrize("beta", [0.9, 0.999, 0.9999])
@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_class_balanced(beta, gamma):
    """CB = (1 - beta) / (1 - beta^n_y) L, weights scaled so that they sum to the classes."""
    counts = np.asarray([1, 10, 100, 1000, 5])
    w = (1 - beta) / (1 - beta**counts)
    w = w / w.sum() * 5
    np.testing.assert_allclose(effective_weights(counts, beta), w, rtol=1e-9)
    expected = mean(-w[Y] * (1 - OF_TRUE) ** gamma * np.log(OF_TRUE), W)
    found = ClassCrossentropy(gamma, class_weights=effective_weights(counts, beta))
    assert float(found(Y, Z, W)) == pytest.approx(expected, rel=1e-5)


def test_the_ends_of_beta():
    counts = [4, 40, 400]
    assert effective_weights(counts, 0.0) == [1.0] * 3
    inverse = 1 / np.asarray(counts)
    expected = inverse / inverse.sum() * 3
    np.testing.assert_allclose(effective_weights(counts, 1 - 1e-12), expected, rtol=1e-6)
    assert effective_weights([0, 1, 9], 0.9)[0] == effective_weights([0, 1, 9], 0.9)[1]


def test_where_all_is_certain_there_is_a_gradient_and_no_nan():
    z = tf.Variable([[200.0, 0.0], [0.0, 200.0]])
    with tf.GradientTape() as tape:
        loss = ClassCrossentropy(0.5)([0, 0], z)
    assert np.isfinite(float(loss)) and np.isfinite(tape.gradient(loss, z)).all()


def test_compiled_and_serialised():
    loss = ClassCrossentropy(1.5, 0.1, [1.0, 2.0, 0.5, 1.0, 0.5])
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    compiled = tf.function(again, jit_compile=True)
    assert float(compiled(Y, Z, W)) == pytest.approx(float(loss(Y, Z, W)), rel=1e-6)


# --- Chosen by the head ------------------------------------------------------------------------

TEXTS = POSITIVE + NEGATIVE
LABELS = ["pos"] * 5 + ["neg"] * 3 + ["odd"] * 2


def test_counts_are_learned_and_saved(tiny_classifier, tmp_path):
    head = {"loss": "class_balanced", "beta": 0.9, "label_smoothing": 0.1, "dropout": 0.0}
    model = tiny_classifier("lora[r=2]", head=head)
    model.compile()
    model.fit(TEXTS, LABELS, epochs=1, verbose=0)
    assert model.head.facts["counts"] == [3, 2, 5]
    weights = effective_weights([3, 2, 5], 0.9)
    assert model.loss.class_weights == weights and model.loss.label_smoothing == 0.1
    found = model.evaluate(TEXTS, LABELS, verbose=0, return_dict=True)
    z = model.predict(TEXTS, verbose=0)
    own = ClassCrossentropy(0.0, 0.1, weights)
    ids = [["neg", "odd", "pos"].index(label) for label in LABELS]
    assert found["loss"] == pytest.approx(float(own(ids, z)), rel=1e-5)
    model.save(tmp_path / "m.keras")
    again = kzoo.load(tmp_path / "m.keras")
    assert again.evaluate(TEXTS, LABELS, verbose=0, return_dict=True) == pytest.approx(found)
    assert again.head.get_config()["beta"] == 0.9
    model.adapters.save("default", tmp_path / "a")
    fresh = tiny_classifier(head=head)
    fresh.adapters.load(tmp_path / "a")
    assert fresh.evaluate(TEXTS, LABELS, verbose=0, return_dict=True) == pytest.approx(found)
    # Other rows, other counts; classes that the user named are counted too.
    model.fit(TEXTS[2:], LABELS[2:], epochs=1, verbose=0)
    assert model.loss.class_weights == effective_weights([3, 2, 3], 0.9)
    named = tiny_classifier(head=head, labels=["odd", "pos", "neg", "none"])
    named.fit(TEXTS, LABELS, epochs=1, verbose=0)
    assert named.head.facts["counts"] == [2, 5, 3, 0]


def test_a_stream_is_not_counted(tiny_classifier):
    model = tiny_classifier(head={"loss": "class_balanced"}, labels=["neg", "odd", "pos"])
    stream = tf.data.Dataset.from_tensor_slices((TEXTS, LABELS)).batch(5)
    with pytest.raises(InputError, match="has not counted the classes"):
        model.fit(stream, epochs=1, verbose=0)


def test_focal_learns(tiny_classifier):
    model = tiny_classifier(
        "lora[r=4]",
        head={"loss": "focal", "gamma": 1.0, "dropout": 0.0},
        training={"learning_rate": 0.03},
    )
    model.fit(TEXTS, LABELS, epochs=40, verbose=0)
    assert model.predict_labels(TEXTS, verbose=0) == LABELS
    assert isinstance(model.loss, ClassCrossentropy) and model.loss.gamma == 1.0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"loss": "focall"}, "`loss` must be one of cross_entropy, focal, class_balanced"),
        ({"gamma": 2.0}, "`gamma` is no option of the loss 'cross_entropy'"),
        ({"loss": "focal", "beta": 0.9}, "`beta` is no option of the loss 'focal'"),
        ({"loss": "class_balanced", "beta": 1.0}, r"`beta` must be in \[0, 1\)"),
        ({"label_smoothing": 1.0}, r"`label_smoothing` must be in \[0, 1\)"),
    ],
)
def test_wrong_options(options, said):
    with pytest.raises(InputError, match=said):
        Classify(**options)
