"""kzoo.Trunk in Keras models: tracked, trained, switched, saved, however deep it lies in them."""

import keras
import numpy as np
import pytest
from families import make_tiny_backbone, tiny_inputs
from tiny import make_tiny_trunk

import kzoo
from kzoo.backbones.families import FAMILIES
from kzoo.errors import InputError, WeightsError

RNG = np.random.default_rng(0)
IDS = RNG.integers(5, 60, (6, 7)).astype("int32")
X = {"token_ids": IDS, "segment_ids": np.zeros_like(IDS), "padding_mask": np.ones_like(IDS)}
Y = RNG.integers(0, 2, 6)


def make_trunk(adapter="lora[r=2]", **options):
    trunk = kzoo.Trunk(make_tiny_trunk(), max_tokens=32, **options)
    if adapter:
        trunk.adapters.add("a", adapter)
    return trunk


def inputs():
    return {key: keras.Input((None,), dtype="int32", name=key) for key in X}


def move(trunk, name="a"):
    for variable in trunk.adapters.variables(name).values():
        variable.assign_add(RNG.normal(0, 0.3, variable.shape))


def plain_model(trunk):
    """A plain Keras model with a plain Keras head."""
    x = inputs()
    pooled = keras.layers.GlobalAveragePooling1D()(trunk(x)["tokens"])
    return keras.Model(x, keras.layers.Dense(2, name="mine")(pooled))


@keras.saving.register_keras_serializable(package="tests")
class Holder(keras.layers.Layer):
    """A layer of somebody else's that holds a trunk."""

    def __init__(self, trunk, **kwargs):
        super().__init__(**kwargs)
        self.inner = trunk

    def call(self, x):
        return keras.ops.mean(self.inner(x)["tokens"], axis=1)

    def get_config(self):
        trunk = keras.saving.serialize_keras_object(self.inner)
        return {**super().get_config(), "trunk": trunk}

    @classmethod
    def from_config(cls, config):
        config["trunk"] = keras.saving.deserialize_keras_object(config["trunk"])
        return cls(**config)


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    def __init__(self, holder, **kwargs):
        super().__init__(**kwargs)
        self.holder = holder
        self.mine = keras.layers.Dense(2)

    def call(self, x):
        return self.mine(self.holder(x))

    def get_config(self):
        return {"holder": keras.saving.serialize_keras_object(self.holder)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["holder"]))


def compiled(model):
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def test_outputs_are_the_backbones():
    mask = np.ones_like(IDS)
    mask[:, 5:] = 0
    x = {**X, "padding_mask": mask}
    bare = make_trunk(None)
    found, expected = bare(x), bare.backbone(x)
    np.testing.assert_array_equal(found["tokens"], expected["sequence_output"])
    np.testing.assert_array_equal(found["pooled"], expected["pooled_output"])
    np.testing.assert_array_equal(found["mask"], mask.astype(bool))
    trunk = make_trunk(None, hidden_states=True, attention_scores=True)
    found = trunk(x)
    np.testing.assert_allclose(found["tokens"], expected["sequence_output"], atol=1e-5)
    assert len(found["hidden_states"]) == 3 and len(found["attention_scores"]) == 2
    np.testing.assert_array_equal(found["hidden_states"][-1], found["tokens"])
    for scores in found["attention_scores"]:
        np.testing.assert_allclose(np.asarray(scores).sum(-1), 1, atol=1e-5)
        assert np.abs(np.asarray(scores)[..., 5:]).max() == 0
    # Each block gives what the next one takes.
    block = trunk.backbone.transformer_layers[1]
    padding = keras.ops.convert_to_tensor(mask)
    again = block(found["hidden_states"][1], padding_mask=padding)
    np.testing.assert_allclose(again, found["hidden_states"][2], atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES.names())
def test_every_family_is_a_layer(family):
    trunk = kzoo.Trunk(make_tiny_backbone(family), hidden_states=True)
    x = tiny_inputs(family)
    found = trunk(x)
    count = len(trunk.family.block_lists(trunk.backbone)[-1])
    calls = getattr(trunk.backbone, "num_layers", count)
    assert len(found["hidden_states"]) == calls + 1
    assert found["tokens"].shape[-1] == trunk.width
    again = kzoo.Trunk.from_config(trunk.get_config())
    for new, old in zip(again.weights, trunk.weights, strict=True):
        new.assign(old)
    np.testing.assert_array_equal(again(x)["tokens"], found["tokens"])


def test_scores_that_a_family_does_not_compute_are_refused():
    with pytest.raises(WeightsError, match="`attention_scores`"):
        kzoo.Trunk(make_tiny_backbone("llama"), attention_scores=True)


def test_a_plain_keras_model_trains_saves_and_switches(tmp_path):
    trunk = make_trunk()
    model = compiled(plain_model(trunk))
    before = {v.path: np.asarray(v) for v in model.weights}
    model.fit(X, Y, epochs=3, batch_size=2, verbose=0)
    assert len(model.trainable_variables) == len(trunk.adapters.variables("a")) + 2
    for variable in model.trainable_variables:
        assert np.abs(np.asarray(variable) - before[variable.path]).max() > 0
    for variable in trunk.trunk_variables:
        np.testing.assert_array_equal(variable, before[variable.path])
    adapted = model.predict(X, verbose=0)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again.predict(X, verbose=0), adapted, atol=1e-6)
    assert int(again.optimizer.iterations) == 9
    # The functions that were compiled before the switch are not the ones that answer after it.
    trunk.adapters.deactivate()
    off = model.predict(X, verbose=0)
    assert np.abs(off - adapted).max() > 1e-4
    np.testing.assert_allclose(off, model(X), atol=1e-6)
    trunk.adapters.activate("a")
    np.testing.assert_allclose(model.predict(X, verbose=0), adapted, atol=1e-6)


@pytest.mark.parametrize("kind", ["nested", "holder", "subclassed"])
def test_however_deep_it_lies(kind, tmp_path):
    trunk = make_trunk()
    if kind == "nested":
        x = inputs()
        model = keras.Model(x, keras.layers.Dense(2)(plain_model(trunk)(x)))
    elif kind == "holder":
        x = inputs()
        model = keras.Model(x, keras.layers.Dense(2)(Holder(trunk)(x)))
    else:
        model = Subclassed(Holder(trunk))
    compiled(model).fit(X, Y, epochs=2, batch_size=3, verbose=0)
    trained = {id(v) for v in model.trainable_variables}
    assert {id(v) for v in trunk.adapters.variables("a").values()} <= trained
    adapted = model.predict(X, verbose=0)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again.predict(X, verbose=0), adapted, atol=1e-6)
    trunk.adapters.deactivate()
    assert np.abs(model.predict(X, verbose=0) - adapted).max() > 1e-5
    model.fit(X, Y, epochs=1, batch_size=3, verbose=0)  # the optimizer knows what is trained now


def test_two_trunks_and_one_called_twice():
    one, two = make_trunk(name="one"), make_trunk("pfeiffer[reduction_factor=4]", name="two")
    a, b = (kzoo.TextInput(one, name=name) for name in "ab")
    c = kzoo.TextInput(two, name="c")
    parts = [kzoo.heads.Embed(name=n)(t(x)) for n, t, x in (("va", one, a), ("vc", two, c))]
    parts.append(kzoo.heads.Embed(name="vb")(one(b)))
    joined = keras.layers.Concatenate()(parts)
    model = kzoo.Model({"a": a, "b": b, "c": c}, kzoo.heads.Classify(name="y")(joined))
    texts = ["good film", "bad film", "a cat", "the dog"]
    columns = {"a": texts, "b": texts[::-1], "c": texts}
    model.compile(learning_rate=0.05)
    before = [np.asarray(v) for v in model.trainable_variables]
    model.fit(columns, ["x", "y", "x", "y"], epochs=2, batch_size=2, verbose=0)
    for variable, old in zip(model.trainable_variables, before, strict=True):
        assert np.abs(np.asarray(variable) - old).max() > 0
    with pytest.raises(InputError, match="2 trunks"):
        _ = model.adapters
    assert set(model.trunks) == {"one", "two"}


class Switch(keras.callbacks.Callback):
    def __init__(self, trunk):
        super().__init__()
        self.trunk, self.losses = trunk, []

    def on_epoch_begin(self, epoch, logs=None):
        (self.trunk.adapters.activate if epoch % 2 else lambda _: self.trunk.adapters.deactivate())(
            "a"
        )

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(logs["loss"])


def test_switching_in_a_callback_during_fit():
    trunk = make_trunk()
    model = compiled(plain_model(trunk))
    move(trunk)
    start = [np.asarray(v) for v in trunk.adapters.variables("a").values()]
    model.fit(X, Y, epochs=1, verbose=0, callbacks=[Switch(trunk)])  # off: nothing moves
    same = zip(trunk.adapters.variables("a").values(), start, strict=True)
    assert all((np.asarray(v) == old).all() for v, old in same)
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[Switch(trunk)])
    moved = zip(trunk.adapters.variables("a").values(), start, strict=True)
    assert all(np.abs(np.asarray(v) - old).max() > 0 for v, old in moved)
    assert int(model.optimizer.iterations) == 3


def slots(optimizer, variable):
    index = optimizer._get_variable_index(variable)
    return np.asarray(optimizer._momentums[index]), np.asarray(optimizer._velocities[index])


def test_the_optimizer_keeps_what_stays():
    trunk = make_trunk()
    model = compiled(plain_model(trunk))
    model.fit(X, Y, epochs=4, batch_size=3, verbose=0)
    optimizer = model.optimizer
    head = model.get_layer("mine").kernel
    lora = next(iter(trunk.adapters.variables("a").values()))
    before = slots(optimizer, head)
    trunk.adapters.add("b", "pfeiffer[reduction_factor=4]", activate=False)
    assert model.optimizer is optimizer and int(optimizer.iterations) == 8
    model.fit(X, Y, epochs=1, batch_size=3, verbose=0)  # goes on
    before, before_lora = slots(optimizer, head), slots(optimizer, lora)
    model.optimizer.learning_rate = 0.0123
    trunk.adapters.activate("a", "b")
    assert model.optimizer is not optimizer and int(model.optimizer.iterations) == 10
    assert float(model.optimizer.learning_rate) == pytest.approx(0.0123)
    for known, old in ((head, before), (lora, before_lora)):
        for now, then in zip(slots(model.optimizer, known), old, strict=True):
            np.testing.assert_array_equal(now, then)
    new = next(iter(trunk.adapters.variables("b").values()))
    assert np.abs(slots(model.optimizer, new)).max() == 0
    model.fit(X, Y, epochs=1, batch_size=3, verbose=0)


def test_a_loaded_model_takes_another_adapter(tmp_path):
    """The optimizer of a file is for the adapters of that time."""
    model = compiled(plain_model(make_trunk()))
    model.fit(X, Y, epochs=1, verbose=0)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    trunk = next(layer for layer in again.layers if isinstance(layer, kzoo.Trunk))
    trunk.adapters.add("b", "lora[r=3]")
    before = [np.asarray(v) for v in trunk.adapters.variables("b").values()]
    again.fit(X, Y, epochs=2, verbose=0)
    moved = zip(trunk.adapters.variables("b").values(), before, strict=True)
    assert all(np.abs(np.asarray(v) - old).max() > 0 for v, old in moved)


def test_trainable_false_and_true_again():
    trunk = make_trunk()
    model = plain_model(trunk)
    count = len(model.trainable_variables)
    model.trainable = False
    assert not model.trainable_variables
    trunk.adapters.add("b", "lora[r=2]")  # does not free itself
    assert not model.trainable_variables
    model.trainable = True
    assert len(model.trainable_variables) == count
    trunk.unfreeze()
    # Dense pooler and all blocks; the pooler is taken by nobody, but a plain model does not say so.
    assert len(model.trainable_variables) == count + len(trunk.trunk_variables)
    trunk.freeze()
    assert len(model.trainable_variables) == count


def test_a_backbone_of_the_users_own(tmp_path):
    backbone = make_tiny_backbone("gpt2")
    trunk = kzoo.Trunk(backbone)
    with pytest.raises(InputError, match="no tokenizer"):
        kzoo.TextInput(trunk)
    json = make_tiny_trunk().tokenizer_json
    (tmp_path / "tokenizer.json").write_text(json)
    for tokenizer in (json, tmp_path / "tokenizer.json"):
        text = kzoo.Trunk(make_tiny_backbone("bert"), tokenizer=tokenizer).text
        assert text.encode(["good film"])["token_ids"].shape == (1, 4)
    with pytest.raises(WeightsError, match="`source` must be"):
        kzoo.Trunk(3)


def test_the_dtype_is_the_backbones(minilm_folder):
    trunk = kzoo.Trunk(minilm_folder, layers=[0], dtype="mixed_bfloat16")
    assert keras.config.dtype_policy().name == "float32"
    assert trunk.backbone.token_embedding.compute_dtype == "bfloat16"
    assert trunk(trunk.text.encode(["a"]))["tokens"].dtype == "bfloat16"
    again = kzoo.Trunk.from_config(trunk.get_config())
    assert again(again.text.encode(["a"]))["tokens"].dtype == "bfloat16"
    with pytest.raises(WeightsError, match="was built as float32"):
        kzoo.Trunk(make_tiny_backbone("gpt2"), dtype="mixed_bfloat16")


def test_wrong_inputs_are_named():
    trunk = make_trunk()
    with pytest.raises(InputError, match=r"lack \['segment_ids'\]"):
        trunk({key: X[key] for key in ("token_ids", "padding_mask")})
    with pytest.raises(InputError, match="does not know"):
        trunk({**X, "weights": IDS})
    with pytest.raises(InputError, match="takes a dict"):
        trunk(IDS)
    with pytest.raises(InputError, match="Two inputs have the same name"):
        a, b = kzoo.TextInput(trunk), kzoo.TextInput(trunk)
        kzoo.Model([a, b], kzoo.heads.Classify()(trunk(a)))


def test_row_ids_belong_to_a_thread():
    """Requests that a server answers at the same time do not see each other's rows."""
    import threading

    trunk = make_trunk()
    trunk.adapters.add("b", "lora[r=2]")
    move(trunk), move(trunk, "b")
    trunk.adapters.activate(kzoo.PerRow("a", "b"))
    rows = [np.full(6, child, "int32") for child in (-1, 0, 1)]
    expected = [np.asarray(trunk({**X, "adapter_ids": ids})["tokens"]) for ids in rows]
    assert np.abs(expected[0] - expected[1]).max() > 1e-3
    found: dict[int, list] = {0: [], 1: [], 2: []}

    def ask(child):
        for _ in range(10):
            found[child].append(np.asarray(trunk({**X, "adapter_ids": rows[child]})["tokens"]))

    threads = [threading.Thread(target=ask, args=(child,)) for child in found]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    for child, outputs in found.items():
        assert len(outputs) == 10
        for output in outputs:
            np.testing.assert_allclose(output, expected[child], atol=1e-5)
