"""Outputs in a list, metrics that are reported once, and a head that `fit` resizes."""

import keras
import numpy as np
from tiny import make_tiny_trunk

import kzoo

TEXTS = ["good film", "bad film", "great movie", "awful movie"]
LABELS = {"topic": ["a", "b", "a", "b"], "urgency": [9, 10, 2, 1]}


def model_of_two():
    trunk = kzoo.Trunk(make_tiny_trunk(), max_tokens=16)
    trunk.adapters.add("task", "lora[r=2]")
    text, age = kzoo.TextInput(trunk, name="text"), keras.Input((1,), name="age")
    states = trunk(text)
    both = keras.layers.Concatenate()([kzoo.heads.Embed()(states), age])
    heads = [kzoo.heads.Classify(name="topic")(states), kzoo.heads.Regress(name="urgency")(both)]
    return kzoo.Model([text, age], heads)


def test_outputs_in_a_list(tmp_path):
    model, columns = model_of_two(), {"text": TEXTS, "age": [1, 2, 3, 4]}
    options = {"batch_size": 2, "verbose": 0}
    model.fit(columns, LABELS, validation_data=(columns, LABELS), **options)
    model.fit(columns, list(LABELS.values()), sample_weight=[1, 2, 1, 1], **options)
    found = model.predict(columns, verbose=0)
    assert isinstance(found, list) and [value.shape for value in found] == [(4, 2), (4, 1)]
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    for one, other in zip(found, again.predict(columns, verbose=0), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    names = set(again.fit(columns, LABELS, **options).history)
    losses = {"loss", "topic_loss", "urgency_loss", "learning_rate"}
    assert names == losses | {
        *("topic_accuracy", "topic_macro_f1", "urgency_rmse", "urgency_pearson")
    }


def test_metrics_of_the_user_are_reported_once():
    model = model_of_two()
    model.compile(metrics=[["accuracy"], [keras.metrics.MeanAbsoluteError(name="mae")]])
    found = model.fit({"text": TEXTS, "age": [1, 2, 3, 4]}, LABELS, verbose=0).history
    names = ("loss", "topic_loss", "urgency_loss", "topic_accuracy", "urgency_mae")
    assert set(found) == {*names, "learning_rate"}


def test_a_second_adapter_with_more_classes_after_a_fit(tiny_classifier):
    """Its head is sized by `fit`, when the optimizer is built already."""
    model = tiny_classifier("lora[r=2]")
    model.fit(TEXTS, ["a", "b", "a", "b"], epochs=1, verbose=0)
    before = model.predict(TEXTS, verbose=0)
    model.adapters.add("second", "lora[r=2]")
    model.fit(TEXTS, ["x", "y", "z", "z"], epochs=2, verbose=0)
    assert model.labels == ["x", "y", "z"]
    assert model.predict(TEXTS, verbose=0).shape == (4, 3)
    model.adapters.activate("default")
    assert model.labels == ["a", "b"]
    np.testing.assert_array_equal(model.predict(TEXTS, verbose=0), before)
