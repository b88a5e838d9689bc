"""Choose: logits against a trunk called by hand, its loss in numpy, missing candidates, labels."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import make_model, make_tiny_trunk

import kzoo
from kzoo.datasets import Split
from kzoo.errors import InputError

ROWS = [
    ("a good film", ["bad and terrible", "great movie", "red cat"]),
    ("a bad film", ["awful movie", "nice and good"]),
    ("the terrible cat", ["great dog", "green one", "a bad dog"]),
    ("the great dog", ["nice cat", "an awful cat"]),
]
RIGHT = [1, 0, 2, 0]


def make(k=3, **options):
    head = {"kind": "choose", "k": k, "dropout": 0.0, **options}
    training = {"learning_rate": 0.03}
    model = make_model(kzoo.Model, make_tiny_trunk(), max_tokens=32, head=head, training=training)
    model.adapters.add("a", "lora[r=4]")
    return model


def by_hand(model, rows, k):
    """Each candidate by itself, pooled and multiplied in numpy."""
    kernel, bias = (np.asarray(v) for v in model.head.acting()[0].weights)
    found = np.full((len(rows), k), -1e9)
    for row, (text, choices) in enumerate(rows):
        for i, choice in enumerate(choices):
            states = model.trunk(model.text.encode([(text, choice)]))["tokens"]
            found[row, i] = (np.asarray(states)[0].mean(axis=0) @ kernel + bias)[0]
    return found


@pytest.fixture(scope="module")
def fitted():
    model = make()
    model.fit(ROWS * 3, RIGHT * 3, epochs=25, batch_size=4, verbose=0)
    return model


def test_learns(fitted, tmp_path):
    outputs = fitted.predict(ROWS, verbose=0)
    np.testing.assert_allclose(outputs, by_hand(fitted, ROWS, 3), rtol=1e-4, atol=1e-5)
    assert fitted.decode(outputs) == fitted.predict_values(ROWS) == RIGHT
    expected = [own[i] for (_, own), i in zip(ROWS, RIGHT, strict=True)]
    assert fitted.head.chosen(outputs, ROWS) == expected
    exp = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    losses = -np.log((exp / exp.sum(axis=1, keepdims=True))[np.arange(4), RIGHT])
    found = fitted.evaluate(ROWS, RIGHT, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(losses.mean(), rel=1e-3)
    assert found["accuracy"] == 1.0
    fitted.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded.predict(ROWS, verbose=0), outputs)


def test_missing_candidates_give_no_gradient():
    model = make()
    inputs, _ = next(iter(model.prepare(ROWS, RIGHT, batch_size=4)))
    with tf.GradientTape() as tape:
        loss = model.head.default_loss()(np.asarray(RIGHT), model(inputs, training=True))
    for gradient in tape.gradient(loss, model.trainable_variables):
        assert np.isfinite(gradient).all()
    # Nor does a row's score depend on what stands beside it.
    filled = [(text, [*own, "x"][:3]) for text, own in ROWS]
    there = np.asarray([[i < len(own) for i in range(3)] for _, own in ROWS])
    whole = model.predict(filled, verbose=0)
    np.testing.assert_allclose(
        model.predict(ROWS, verbose=0)[there], whole[there], rtol=1e-4, atol=1e-5
    )


def test_adapters_fit_models_of_any_k(fitted, tmp_path):
    fitted.adapters.save("a", tmp_path / "a")
    other = make(k=5)
    other.adapters.load(tmp_path / "a", name="b")
    other.adapters.activate("b")
    found, before = other.predict(ROWS, verbose=0), fitted.predict(ROWS, verbose=0)
    assert found.shape == (4, 5) and (found[:, 3:] == -1e9).all()
    np.testing.assert_allclose(found[:, :3], before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "pooler"])
def test_pooling(pooling):
    model = make(pooling=pooling)
    kernel, bias = (np.asarray(v) for v in model.head.acting()[0].weights)
    states = model.trunk(model.text.encode([("a good film", "red cat")]))
    tokens = np.asarray(states["tokens"])[0]
    pooled = {
        "mean": tokens.mean(axis=0),
        "cls": tokens[0],
        "max": tokens.max(axis=0),
        "pooler": np.asarray(states["pooled"])[0],
    }[pooling]
    found = model.predict(ROWS[:1], verbose=0)[0, 2]
    assert found == pytest.approx((pooled @ kernel + bias)[0], rel=1e-4)


@pytest.mark.parametrize("rows", ["PerRow", "BatchSplit", "Parallel"])
def test_rows_with_adapters_of_their_own(rows):
    model = make()
    model.adapters.add("b", "pfeiffer[reduction_factor=4]")
    for name, seed in (("a", 1), ("b", 2)):
        for variable in model.adapters.variables(name).values():
            noise = keras.random.normal(variable.shape, seed=seed)
            variable.assign(variable + 0.3 * noise)
    alone = {}
    for name in ("a", "b"):
        model.adapters.activate(name)
        alone[name] = model.predict(ROWS, verbose=0)
    assert np.abs(alone["a"] - alone["b"])[:, 0].max() > 1e-3
    expected = np.stack([alone["a"][0], alone["a"][1], alone["b"][2], alone["b"][3]])
    options = {}
    if rows == "BatchSplit":
        model.adapters.activate(kzoo.BatchSplit("a", "b", batch_sizes=[2, 2]))
        inputs = next(iter(model.prepare(ROWS, batch_size=4)))
        found = model(inputs).numpy()
    else:
        model.adapters.activate(getattr(kzoo, rows)("a", "b"))
        if rows == "PerRow":
            options["adapter_names"] = ["a", "a", "b", "b"]
        found = model.predict(ROWS, verbose=0, **options)
        if rows == "Parallel":
            expected = np.stack([alone["a"], alone["b"]], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


FORMS = {
    "ints": RIGHT,
    "floats": np.asarray(RIGHT, "float64"),
    "strings": [str(i) for i in RIGHT],
    "class ids": Split(
        [text for text, _ in ROWS], labels=[2, 1, 0, 1], label_names=["2", "0", "1"]
    ).labels,
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_labels(form):
    model = make()
    names = ["2", "0", "1"] if form == "class ids" else None
    found = model.head.targets(np.asarray(FORMS[form]), names)
    assert found.tolist() == RIGHT and found.dtype == np.int32


def test_named_places():
    model = make(k=None, labels=["A", "B", "C"])
    _, labels = next(iter(model.prepare(ROWS, ["B", "A", "C", "A"])))
    assert sorted(labels.numpy().tolist()) == sorted(RIGHT)
    assert model.decode(np.eye(3)[RIGHT]) == ["B", "A", "C", "A"]
    with pytest.raises(InputError, match="row 1 is 'D'"):
        model.prepare(ROWS, ["B", "D", "C", "A"])


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([1, 0, 3, 0], r"row 2 is 3, but candidates have the numbers 0 to 2"),
        ([1, -1, 2, 0], "row 1 is -1"),
        ([1, 2, 2, 0], "row 1: the right candidate is number 2, but the row has 2"),
        ([1, 0.5, 2, 0], "row 1 must be the number of the right candidate"),
        (["B", "A", "C", "A"], r"row 0 must be .* `labels=\["),
    ],
)
def test_labels_that_do_not_fit(labels, words):
    with pytest.raises(InputError, match=words.replace(r"\[", "")):
        make().fit(ROWS, labels, epochs=1, verbose=0)


def test_what_is_called_wrong():
    trunk = kzoo.Trunk(make_tiny_trunk(), max_tokens=32)
    with pytest.raises(InputError, match="`k` of the head `choose` must be given"):
        kzoo.Model.on(trunk, kzoo.heads.Choose())
    with pytest.raises(InputError, match="is 2, but it is called on 3 inputs"):
        kzoo.heads.Choose(k=2)(trunk(kzoo.ChoicesInput(trunk, 3)))
    with pytest.raises(InputError, match="`labels` must be k=3 different names"):
        kzoo.heads.Choose(k=3, labels=["A", "B"])
    with pytest.raises(InputError, match="`rows` has 4 rows, `outputs` 1"):
        kzoo.heads.Choose(k=3).chosen(np.zeros((1, 3)), ROWS)
