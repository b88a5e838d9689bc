"""Compositions: validated data, and what each block computes."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import make_model

import kzoo
from kzoo.adapters.acting.composition import parse_composition
from kzoo.errors import AdapterError, InputError

TEXTS = ["good film", "bad", "a cat and the dog", "awful movie"]
METHODS = {
    "a": "lora[r=2,targets=[query,attention_output,ffn_intermediate]]",
    "b": "lora[r=2,targets=[query,attention_output,ffn_intermediate]]",
    "c": "lora[r=3,targets=[value]]",
    "d": "pfeiffer[reduction_factor=4]",
}


@pytest.fixture(scope="module")
def model():
    from kzoo.models.classifier import TextClassifier
    from tests.tiny import make_tiny_trunk

    model = make_model(
        TextClassifier, make_tiny_trunk(), recipe="toy", num_classes=3, max_tokens=16
    )
    rng = np.random.default_rng(0)
    for name, method in METHODS.items():
        model.adapters.add(name, method)
        for variable in model.adapters.variables(name).values():
            variable.assign(rng.normal(0, 0.3, variable.shape))
    return model


@pytest.fixture(scope="module")
def x(model):
    return model.text.encode(TEXTS)


def run(model, x, composition):
    if composition is None:
        model.adapters.deactivate()
    else:
        model.adapters.activate(composition)
    return np.asarray(model(x))


TREE = kzoo.Stack("a", kzoo.Average("b", kzoo.Split("c", "d", splits=[2, -1]), weights=[1, 3]))


def test_data_round_trip():
    data = json.loads(json.dumps(TREE.to_dict()))
    assert parse_composition(data) == TREE
    assert list(TREE.names()) == ["a", "b", "c", "d"]
    assert parse_composition("a") == "a"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"type": "Stak", "children": ["a"]}, "Did you mean `Stack`"),
        ({"type": "Stack", "children": []}, "at least one"),
        ({"type": "Fuse", "children": ["a"]}, "at least two"),
        ({"type": "Average", "children": ["a", "b"], "weights": [1]}, "one a child"),
        ({"type": "Average", "children": ["a", "b"], "weights": [1, -1]}, "add up to 0"),
        ({"type": "Split", "children": ["a", "b"], "splits": [-1, -1]}, "at most once"),
        ({"type": "Split", "children": ["a", "b"]}, "`splits`"),
        ({"type": "Stack", "children": ["a"], "weight": 1}, "`weight`"),
        (
            {"type": "Average", "children": [{"type": "Parallel", "children": ["a"]}]},
            "a Parallel cannot stand inside a Average",
        ),
        (7, "Received: 7"),
    ],
)
def test_errors(data, said):
    with pytest.raises(AdapterError) as error:
        parse_composition(data)
    assert said in str(error.value)


def test_average_of_linear_updates_is_the_average_of_matrices(model, x):
    """LoRA at one place: mean of outputs = output of the mean update."""
    host = model.trunk.family.block_list(model.backbone)[0]._feedforward_intermediate_dense
    z = np.random.default_rng(1).normal(size=(2, 3, 16)).astype("float32")
    activation, host.activation = host.activation, keras.activations.linear

    def at(composition):
        model.adapters.activate(composition)
        site = model.trunk.sites.attached["blocks.0.ffn_intermediate"]
        return np.asarray(site.adapted(site.base)(z))

    host.activation = activation
    expected = 0.25 * at("a") + 0.75 * at("b")
    np.testing.assert_allclose(at(kzoo.Average("a", "b", weights=[1, 3])), expected, atol=1e-5)
    expected = 2 * at("a") - at("b")
    found = at(kzoo.Average("a", "b", weights=[2, -1], normalize=False))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_batch_split_equals_single_runs(model, x):
    alone = {name: run(model, x, name) for name in "ad"}
    found = run(model, x, kzoo.BatchSplit("a", "d", batch_sizes=[1, -1]))
    np.testing.assert_allclose(found[:1], alone["a"][:1], atol=1e-6)
    np.testing.assert_allclose(found[1:], alone["d"][1:], atol=1e-6)
    with pytest.raises(AdapterError, match="do not fill 4"):
        run(model, x, kzoo.BatchSplit("a", "d", batch_sizes=[1, 2]))


def test_split_gives_each_child_its_tokens(model):
    site = model.trunk.sites.attached["blocks.0.query"]
    z = np.random.default_rng(1).normal(size=(2, 5, 16)).astype("float32")
    outputs = {}
    for name in ("a", "b", kzoo.Split("a", "b", splits=[2, -1])):
        model.adapters.activate(name)
        outputs[name] = np.asarray(site.run(z))
    split = outputs[kzoo.Split("a", "b", splits=[2, -1])]
    np.testing.assert_allclose(split[:, :2], outputs["a"][:, :2], atol=1e-6)
    np.testing.assert_allclose(split[:, 2:], outputs["b"][:, 2:], atol=1e-6)
    assert np.abs(outputs["a"] - outputs["b"]).max() > 0.1


@pytest.mark.parametrize("children", [("a", "b"), ("a", "b", "c", "d")], ids=["alike", "mixed"])
def test_a_row_by_row_batch_equals_single_runs(model, x, children):
    alone = {name: run(model, x, name) for name in children}
    alone["__base__"] = run(model, x, None)
    model.adapters.activate(kzoo.PerRow(*children))
    names = [children[-1], "__base__", children[0], children[1]]
    found = model.predict(TEXTS, adapter_names=names, verbose=0)
    expected = np.stack([alone[name][row] for row, name in enumerate(names)])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(expected - alone["__base__"]).max() > 1e-3
    numbers = {"__base__": -1, **{name: i for i, name in enumerate(children)}}
    inputs = {**x, "adapter_ids": np.asarray([numbers[name] for name in names], "int32")}
    inputs = {name: tf.constant(value) for name, value in inputs.items()}
    compiled = tf.function(lambda batch: model(batch), jit_compile=True)(inputs)
    np.testing.assert_allclose(compiled, expected, atol=1e-5)


def test_rows_of_a_training_step_reach_their_own_adapter(tiny_classifier, reviews):
    model = tiny_classifier(num_classes=2)
    for name in ("a", "b", "c"):
        model.adapters.add(name, "lora[r=2]")
    model.adapters.activate(kzoo.PerRow("a", "b", "c"))
    before = {n: [np.asarray(v) for v in model.adapters.variables(n).values()] for n in "abc"}
    texts, labels = reviews
    names = ["a", "b"] * (len(texts) // 2) + ["a"] * (len(texts) % 2)
    model.compile(jit_compile=False)
    model.fit(texts, labels, epochs=1, verbose=0, adapter_names=names)
    moved = {
        n: max(
            np.abs(np.asarray(v) - old).max()
            for v, old in zip(model.adapters.variables(n).values(), before[n], strict=True)
        )
        for n in "abc"
    }
    assert moved["a"] > 0 and moved["b"] > 0 and moved["c"] == 0


def test_parallel_gives_every_childs_outputs(model, x):
    alone = [run(model, x, name) for name in ("a", "d")]
    found = run(model, x, kzoo.Parallel("a", "d"))
    np.testing.assert_allclose(found, np.stack(alone, axis=1), atol=1e-5)


def test_names_that_do_not_fit(model, x):
    model.adapters.activate(kzoo.PerRow("a", "b"))
    with pytest.raises(InputError, match="not in the active PerRow"):
        model.predict(TEXTS, adapter_names=["a", "b", "a", "aa"], verbose=0)
    with pytest.raises(InputError, match="4 names"):
        model.predict(TEXTS, adapter_names=["a"], verbose=0)
    with pytest.raises(InputError, match="needs to know each row"):
        model(x)
    model.adapters.activate("a")
    with pytest.raises(InputError, match=r"kzoo\.PerRow"):
        model.predict(TEXTS, adapter_names=["a"] * 4, verbose=0)
    with pytest.raises(AdapterError, match="no adapter `z`"):
        model.adapters.activate(kzoo.Average("a", "z"))


def test_a_saved_model_keeps_its_composition(model, x, tmp_path):
    expected = run(model, x, TREE)
    model.save(tmp_path / "model.keras")
    again = kzoo.load(tmp_path / "model.keras")
    assert again.adapters.composition == TREE
    np.testing.assert_array_equal(np.asarray(again(x)), expected)


def test_a_prefix_in_a_composition_where_attention_returns_scores(tiny_classifier):
    """With dropout, Keras' attention gives its scores too, and a prefix makes them wider."""
    model = tiny_classifier(num_classes=3, trunk="trainable", dropout=0.2)
    x = model.text.encode(TEXTS)
    model.adapters.add("p", "prefix[num_virtual_tokens=3]")
    model.adapters.add("l", "lora")
    alone = {name: run(model, x, name) for name in "pl"}
    model.adapters.activate(kzoo.PerRow("p", "l"))
    rows = np.asarray(model({**x, "adapter_ids": np.asarray([0, 1, 0, 1], "int32")}))
    expected = [alone[name][row] for row, name in enumerate("plpl")]
    np.testing.assert_allclose(rows, expected, atol=1e-5)
    assert run(model, x, kzoo.Average("p", "l")).shape == rows.shape
