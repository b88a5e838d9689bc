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


# --- Every kind of model, in training and in files -------------------------------------------

X = RNG.normal(size=(16, 10)).astype("float32")
Y = (X[:, 0] > 0).astype("int32")


def make_sequential():
    layers = [keras.layers.Dense(8, activation="relu", name="lin0")]
    layers += [keras.layers.Dense(2, activation="softmax", name="lin1")]
    return keras.Sequential([keras.Input((10,)), *layers])


@keras.saving.register_keras_serializable(package="adapted_tests")
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.lin0 = keras.layers.Dense(8, activation="tanh", name="lin0")
        self.lin1 = keras.layers.Dense(2, activation="softmax", name="lin1")

    def call(self, x):
        return self.lin1(self.lin0(x))


def make_subclassed():
    model = Subclassed()
    model(X)
    return model


MAKE = {"functional": make_mlp, "sequential": make_sequential, "subclassed": make_subclassed}


def adapted(kind, fit=True):
    keras.utils.set_random_seed(1)
    model = MAKE[kind]()
    kzoo.adapt(model).add("a", "lora[r=2,targets=[lin0, lin1]]")
    model.compile("adam", "sparse_categorical_crossentropy")
    if fit:
        model.fit(X, Y, epochs=2, batch_size=8, verbose=0)
    return model


@pytest.mark.parametrize("kind", MAKE)
def test_trained_and_only_they(kind):
    model = adapted(kind, fit=False)
    own = {id(v) for v in model.adapters.variables("a").values()}
    assert {id(v) for v in model.trainable_variables} == own and len(own) == 4
    before = {id(v): np.asarray(v) for v in model.weights}
    assert own <= set(before)
    model.fit(X, Y, epochs=2, verbose=0)
    for variable in model.weights:
        moved = np.abs(np.asarray(variable) - before[id(variable)]).max() > 0
        assert moved == (id(variable) in own)


@pytest.mark.parametrize("state", ["active", "inactive", "merged"])
@pytest.mark.parametrize("kind", MAKE)
def test_a_file_has_the_adapters_and_every_activation(kind, state, tmp_path):
    model = adapted(kind)
    if state == "merged":
        model.adapters.merge("a")
    elif state == "inactive":
        model.adapters.deactivate()
    expected = model.predict(X, verbose=0)
    np.testing.assert_allclose(expected.sum(-1), 1, atol=1e-5)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again.predict(X, verbose=0), expected, atol=1e-6)
    assert list(again.adapters) == ["a"] and again.adapters.merged == model.adapters.merged
    assert int(again.optimizer.iterations) == 4
    if state == "active":
        again.fit(X, Y, epochs=1, verbose=0)
        again.adapters.deactivate()
        model.adapters.deactivate()
        off = model.predict(X, verbose=0)
        np.testing.assert_allclose(again.predict(X, verbose=0), off, atol=1e-6)


def test_clones_are_bare_and_say_so():
    model = adapted("functional")
    with pytest.warns(UserWarning, match="clone of an adapted model is bare"):
        clone = keras.models.clone_model(model)
    np.testing.assert_allclose(clone.predict(X, verbose=0).sum(-1), 1, atol=1e-5)
    assert clone.layers[-1].activation is keras.activations.softmax
    kzoo.adapt(clone).add("a", "lora[r=2,targets=[lin0]]")


@pytest.mark.parametrize("kind", MAKE)
def test_trainable_false_and_true_again(kind):
    model = adapted(kind, fit=False)
    count = len(model.trainable_variables)
    model.trainable = False
    assert not model.trainable_variables
    model.trainable = True
    assert len(model.trainable_variables) == count


def test_an_outer_model_hears_of_switches():
    inner = make_mlp()
    x = keras.Input((10,))
    outer = keras.Model(x, keras.layers.Rescaling(2.0)(inner(x)))
    plain = outer.predict(X, verbose=0)
    adapters = kzoo.adapt(inner)
    outer.predict(X, verbose=0)
    adapters.add("a", "lora[r=2,targets=[lin1]]")
    adapters.variables("a")["lin1.lora_b"].assign(np.ones((2, 2)) * [1, -1])
    on = outer.predict(X, verbose=0)
    assert np.abs(on - plain).max() > 1e-2
    adapters.deactivate()
    np.testing.assert_allclose(outer.predict(X, verbose=0), plain, atol=1e-6)


def test_a_task_generates_with_what_acts_now():
    import keras_hub
    from families import make_tiny_backbone

    backbone = make_tiny_backbone("gpt2")
    task = keras_hub.models.GPT2CausalLM(backbone, preprocessor=None)
    task.compile(sampler="greedy")
    ids = np.zeros((1, 12), "int32")
    ids[:, :4] = [[5, 6, 7, 8]]
    prompt = {"token_ids": ids, "padding_mask": (ids > 0).astype("int32")}

    def generate():
        return np.asarray(task.generate(prompt, stop_token_ids=None)["token_ids"])

    plain = generate()
    adapters = kzoo.adapt(backbone)  # the backbone alone: the task is found by itself
    adapters.add("a", "lora[r=4]")
    for variable in adapters.variables("a").values():
        variable.assign(np.random.default_rng(0).normal(0, 1, variable.shape))
    on = generate()
    assert (on != plain).any()
    adapters.deactivate()
    np.testing.assert_array_equal(generate(), plain)


def test_a_prompt_that_nobody_writes_is_refused():
    import keras_hub
    from families import make_tiny_backbone, tiny_inputs

    task = keras_hub.models.GPT2CausalLM(make_tiny_backbone("gpt2"), preprocessor=None)
    inputs = tiny_inputs("gpt2")
    for method in ("prompt[num_virtual_tokens=3]", "ptuning[num_virtual_tokens=3]"):
        kzoo.adapt(task) if not hasattr(task, "adapters") else None
        task.adapters.add("p", method)
        with pytest.raises(AdapterError, match="none of its virtual tokens"):
            task(inputs)
        task.adapters.delete("p")


def test_what_has_adapters_of_its_own_is_refused():
    from tiny import make_tiny_trunk

    trunk = kzoo.Trunk(make_tiny_trunk(), max_tokens=32)
    text = kzoo.TextInput(trunk)
    model = keras.Model(text, keras.layers.Dense(2)(trunk(text)["tokens"]))
    for candidate in (model, trunk):
        with pytest.raises(AdapterError, match=r"has adapters already|adapters of its own"):
            kzoo.adapt(candidate)
