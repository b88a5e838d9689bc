"""`kzoo.adapt`: adapters on a Keras model that kzoo did not make."""

import keras
import numpy as np
import pytest

import kzoo
from kzoo.errors import AdapterError

RNG = np.random.default_rng(0)


def make_mlp():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((10,))
    x = keras.layers.Dense(20, activation="relu", name="lin0")(inputs)
    x = keras.layers.Dropout(0.5)(x)
    outputs = keras.layers.Dense(2, activation="softmax", name="lin1")(x)
    return keras.Model(inputs, outputs)


def test_adapters_train_and_the_model_does_not():
    model = make_mlp()
    x = RNG.normal(size=(32, 10)).astype("float32")
    y = (x[:, 0] > 0).astype("int32")
    plain = model.predict(x, verbose=0)
    model.compile("adam", "sparse_categorical_crossentropy")
    adapters = kzoo.adapt(model)
    before = [np.asarray(v) for v in model.weights]
    adapters.add("a", "lora[r=4,targets=[lin0, lin1]]")
    np.testing.assert_array_equal(model.predict(x, verbose=0), plain)
    # 4 (10 + 20) + 4 (20 + 2)
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == 208
    model.fit(x, y, epochs=2, verbose=0)
    after = [np.asarray(v) for v in model.weights[: len(before)]]
    assert all((a == b).all() for a, b in zip(before, after, strict=True))
    adapted = model.predict(x, verbose=0)
    assert np.abs(adapted - plain).max() > 1e-4
    model.adapters.deactivate()
    np.testing.assert_array_equal(model.predict(x, verbose=0), plain)


def test_save_and_load(tmp_path):
    adapters = kzoo.adapt(make_mlp())
    adapters.add("a", "lora[r=2,targets=[lin1]]")
    adapters.variables("a")["lin1.lora_b"].assign(np.ones((2, 2)))
    adapters.save("a", tmp_path / "a")
    other = kzoo.adapt(make_mlp())
    other.load(tmp_path / "a")
    np.testing.assert_array_equal(np.asarray(other.variables("a")["lin1.lora_b"]), np.ones((2, 2)))


def test_rows_that_nobody_names_are_refused():
    model = make_mlp()
    kzoo.adapt(model).add("a", "lora[targets=[lin0]]")
    model.adapters.activate(kzoo.PerRow("a"))
    with pytest.raises(AdapterError, match="called as a whole"):
        model(np.zeros((2, 10), "float32"))
    with pytest.raises(ValueError, match="cannot stand inside a Stack"):
        kzoo.Stack("a", kzoo.PerRow("a", "b"))


def test_what_cannot_be_adapted():
    with pytest.raises(AdapterError, match="built Keras model"):
        kzoo.adapt(keras.Sequential([keras.layers.Dense(2)]))
    with pytest.raises(AdapterError, match="Did you mean `lin1`"):
        kzoo.adapt(make_mlp()).add("a", "lora[targets=[lin]]")
