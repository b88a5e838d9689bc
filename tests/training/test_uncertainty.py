"""Learned weights of several losses: the formula, its optimum, files, refusals."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import make_tiny_trunk

import kzoo
from kzoo.errors import InputError
from kzoo.training.uncertainty import UncertainLoss

TEXTS = ["good film", "bad film", "great movie", "awful movie"] * 3
LABELS = {"topic": ["a", "b", "a", "b"] * 3, "price": [9.0, 10.0, 2.0, 1.0] * 3}


def make(structure=dict, **training):
    trunk = kzoo.Trunk(make_tiny_trunk(), max_tokens=16)
    trunk.adapters.add("task", "lora[r=2]")
    text = kzoo.TextInput(trunk)
    states = trunk(text)
    heads = {
        "topic": kzoo.heads.Classify(name="topic", dropout=0.0),
        "price": kzoo.heads.Regress(name="price", dropout=0.0),
    }
    outputs = {name: head(states) for name, head in heads.items()}
    outputs = outputs if structure is dict else list(outputs.values())
    return kzoo.Model(text, outputs, training={"uncertainty": True, **training})


def evaluated(model):
    return model.evaluate(TEXTS, LABELS, verbose=0, return_dict=True)


def plain_losses(model):
    """Cross-entropy, and squared error over the variance, in numpy."""
    z, f = model.by_output(model.predict(TEXTS, verbose=0)).values()
    if z.shape[-1] == 1:
        z, f = f, z
    ids = np.asarray([["a", "b"].index(label) for label in LABELS["topic"]])
    shares = np.exp(z - z.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    price = np.asarray(LABELS["price"])
    squared = np.mean((f[:, 0] - price) ** 2) / price.var()
    return -np.log(shares[np.arange(len(ids)), ids]).mean(), squared


@pytest.mark.parametrize("structure", [dict, list])
def test_the_loss_is_its_formula_and_survives_a_file(structure, tmp_path):
    model = make(structure, learning_rate=0.05)
    model.fit(TEXTS, LABELS, epochs=4, batch_size=4, verbose=0)
    s = {name: float(np.asarray(v)) for name, v in model.log_variances.items()}
    assert set(s) == {"topic", "price"} and all(abs(value) > 1e-3 for value in s.values())
    entropy, squared = plain_losses(model)
    topic = np.exp(-s["topic"]) * entropy + s["topic"] / 2
    price = np.exp(-s["price"]) * squared / 2 + s["price"] / 2
    found = evaluated(model)
    assert found["topic_loss"] == pytest.approx(topic, rel=1e-4)
    assert found["price_loss"] == pytest.approx(price, rel=1e-4)
    assert found["loss"] == pytest.approx(topic + price, rel=1e-4)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert evaluated(again) == pytest.approx(found, rel=1e-5)
    again.fit(TEXTS, LABELS, epochs=1, verbose=0)
    assert all(float(np.asarray(v)) != s[name] for name, v in again.log_variances.items())


def test_the_optimum():
    """exp(s) is twice an entropy, and the mean squared error: the variance of the noise."""
    rng = np.random.default_rng(0)
    y, f = rng.normal(size=50), rng.normal(size=(50, 1)).astype("float32")
    z = rng.normal(size=(50, 3)).astype("float32")
    ids = rng.integers(0, 3, 50)
    for loss, true, found, share in (
        (keras.losses.MeanSquaredError(), y[:, None], f, 1.0),
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), ids, z, 2.0),
    ):
        best = np.log(share * float(loss(true, found)))
        s = tf.Variable(best, dtype="float32")
        with tf.GradientTape() as tape:
            value = UncertainLoss(loss, s)(true, found)
        assert float(tape.gradient(value, s)) == pytest.approx(0.0, abs=1e-6)


def test_it_is_an_option_of_a_recipe(tmp_path, minilm_folder):
    path = tmp_path / "two.yaml"
    path.write_text(
        "version: 2\ntrunk: {source: minilm-l6, layers: [0]}\n"
        "heads:\n  topic: {kind: classify}\n  price: {kind: regress}\n"
        "training: {uncertainty: true}\n"
    )
    model = kzoo.load(path)
    assert set(model.log_variances) == {"topic", "price"}
    assert {v.name for v in model.trainable_variables} >= {"topic_log_variance"}
    assert not kzoo.load(path, uncertainty=False).log_variances


def test_refusals():
    x = keras.Input((2,), name="x")
    with pytest.raises(InputError, match="`uncertainty` weighs the losses of several outputs"):
        kzoo.Model(x, kzoo.heads.Regress()(x), training={"uncertainty": True})
    model = make()
    with pytest.raises(InputError, match="`loss` of `price` must be a keras"):
        model.compile(loss={"price": "mse"})
    with pytest.raises(InputError, match="`loss` must have one for each"):
        model.compile(loss=keras.losses.MeanSquaredError())
