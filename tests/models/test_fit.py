"""fit, evaluate and predict on raw strings, in every form that users pass them."""

import numpy as np
import pytest
import tensorflow as tf

from kzoo.errors import InputError


def test_strings_and_string_labels_are_learned(tiny_classifier, reviews):
    texts, labels = reviews
    model = tiny_classifier("houlsby", trunk="trainable")
    model.compile(learning_rate=0.02)
    history = model.fit(texts, labels, epochs=8, batch_size=8, verbose=0)
    assert history.history["loss"][-1] < 0.2 < history.history["loss"][0]
    assert model.labels == ["neg", "pos"]
    assert model.predict_labels(["good film", "awful movie"], verbose=0) == ["pos", "neg"]
    scores = model.evaluate(texts, labels, verbose=0, return_dict=True)
    found = np.array(model.predict_labels(texts, verbose=0))
    assert scores["accuracy"] == pytest.approx((found == np.array(labels)).mean())
    proba = model.predict_proba(texts, verbose=0)
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-5)


FORMS = {
    "list": lambda t, y: (t, y),
    "tuple labels": lambda t, y: (t, tuple(y)),
    "array": lambda t, y: (np.array(t), np.array(y)),
    "object array": lambda t, y: (np.array(t, dtype=object), np.array(y, dtype=object)),
    "column": lambda t, y: (t, np.array(y)[:, None]),
    "tf.data": lambda t, y: (tf.data.Dataset.from_tensor_slices((t, y)), None),
    "batched tf.data": lambda t, y: (tf.data.Dataset.from_tensor_slices((t, y)).batch(7), None),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_text_give_the_same_scores(form, tiny_classifier, reviews):
    """The same rows in the same order: the loss of a fresh model is equal for every form."""
    model = tiny_classifier(labels=("neg", "pos"), num_classes=2)
    expected = model.evaluate(*reviews, verbose=0, return_dict=True)
    found = model.evaluate(*FORMS[form](*reviews), verbose=0, return_dict=True)
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-5)
    assert tiny_classifier().fit(*FORMS[form](*reviews), epochs=1, verbose=0).history["loss"]


@pytest.mark.parametrize(
    "form",
    [
        lambda a, b: list(zip(a, b, strict=True)),
        lambda a, b: (a, b),
        lambda a, b: np.array(list(zip(a, b, strict=True))),
        lambda a, b: [list(pair) for pair in zip(a, b, strict=True)],
        lambda a, b: tf.data.Dataset.from_tensor_slices(np.stack([a, b], axis=1)),
    ],
)
def test_pairs(form, tiny_classifier):
    first, second = ["a cat", "good", "the film"], ["a dog", "bad film", "x"]
    model = tiny_classifier(num_classes=2)
    expected = np.asarray(model(model.text.encode(list(zip(first, second, strict=True)))))
    found = model.predict(form(first, second), verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    swapped = model.predict(form(second, first), verbose=0)
    assert np.abs(swapped - expected).max() > 1e-4  # segments and order are used


def test_tf_data_pairs_with_labels(tiny_classifier):
    pairs = (["a cat", "good"] * 4, ["a dog", "bad"] * 4)
    labels = ["x", "y"] * 4
    data = tf.data.Dataset.from_tensor_slices((pairs, labels))
    model = tiny_classifier()
    model.fit(data, epochs=1, verbose=0)
    assert model.labels == ["x", "y"]
    rows = list(zip(*pairs, strict=True))
    expected = model.evaluate(rows, labels, verbose=0)
    np.testing.assert_allclose(model.evaluate(data, verbose=0), expected, atol=1e-5)


def test_predict_keeps_the_order_given(tiny_classifier):
    model = tiny_classifier(num_classes=3)
    texts = ["good " * (1 + (7 * i) % 13) + "cat" for i in range(50)]
    whole = model.predict(texts, batch_size=8, verbose=0)
    singly = np.concatenate([np.asarray(model(model.text.encode([text]))) for text in texts])
    np.testing.assert_allclose(whole, singly, atol=1e-5)


def test_kzoo_datasets_object(tiny_classifier, reviews):
    from kzoo.datasets import Card, Dataset, Split

    texts, labels = reviews
    names = ["neg", "pos"]
    ids = np.array([names.index(label) for label in labels])
    split = Split(texts, labels=ids, label_names=names)
    data = Dataset(
        "reviews", {"train": split, "validation": split, "test": split}, names, Card("reviews")
    )
    model = tiny_classifier()
    history = model.fit(data, epochs=1, verbose=0).history
    assert {"val_loss", "val_accuracy", "val_macro_f1"} <= set(history)
    assert model.labels == names
    scores = model.evaluate(data, verbose=0)
    np.testing.assert_allclose(scores, model.evaluate(texts, labels, verbose=0), atol=1e-5)
    flipped = Split(texts, labels=1 - ids, label_names=["pos", "neg"])  # the same, renumbered
    np.testing.assert_allclose(model.evaluate(flipped, verbose=0), scores, atol=1e-5)


def test_sample_and_class_weights(tiny_classifier, reviews):
    """Rows of weight 0 teach nothing; a class weight is the same as weighting its rows."""
    texts, labels = reviews
    weights = np.array([1.0 if label == "pos" else 0.0 for label in labels])
    results = []
    for options in ({"sample_weight": weights}, {"class_weight": {"pos": 1.0, "neg": 0.0}}):
        model = tiny_classifier(labels=("neg", "pos"), head={"dropout": 0.0})
        model.compile(learning_rate=0.1)
        model.fit(texts, labels, epochs=4, verbose=0, **options)
        results.append(model.predict(texts, verbose=0))
    np.testing.assert_allclose(results[0], results[1], atol=1e-5)
    assert (results[0].argmax(axis=1) == 1).all()  # only "pos" was ever seen


def test_validation_forms_agree(tiny_classifier, reviews):
    texts, labels = reviews
    held = (texts[:10], labels[:10])
    as_tf = tf.data.Dataset.from_tensor_slices(held).batch(4)
    losses = []
    for data in (held, as_tf):
        model = tiny_classifier(head={"dropout": 0.0})
        losses.append(
            model.fit(texts, labels, epochs=1, verbose=0, validation_data=data).history["val_loss"]
        )
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    model = tiny_classifier()
    history = model.fit(texts, labels, epochs=1, verbose=0, validation_split=0.25).history
    assert "val_loss" in history


def test_the_step_is_traced_once(tiny_classifier, reviews, monkeypatch):
    model, traced = tiny_classifier("lora"), []
    step = type(model).train_step

    def counted(self, data):
        traced.append(1)
        return step(self, data)

    monkeypatch.setattr(type(model), "train_step", counted)
    model.fit(*reviews, epochs=1, verbose=0)
    assert len(traced) == 1
    model.adapters.add("b", "lora")
    model.fit(*reviews, epochs=1, verbose=0)
    assert len(traced) == 2


def test_same_seed_same_training_other_seed_other(tiny_classifier, reviews):
    found = []
    for seed in (3, 3, 4):
        model = tiny_classifier("pfeiffer", seed=seed, trunk="trainable")
        model.fit(*reviews, epochs=2, batch_size=8, verbose=0)
        found.append(model.predict(["good film"], verbose=0))
    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(found[0] - found[2]).max() > 1e-5


def test_standard_callbacks(tiny_classifier, reviews, tmp_path):
    import keras

    pytest.importorskip("tensorboard")
    model = tiny_classifier()
    best = tmp_path / "best.keras"
    history = model.fit(
        *reviews,
        epochs=6,
        verbose=0,
        validation_data=(["good", "bad"], ["pos", "neg"]),
        callbacks=[
            keras.callbacks.EarlyStopping("val_accuracy", patience=0, mode="max"),
            keras.callbacks.ModelCheckpoint(
                str(best), "val_macro_f1", save_best_only=True, mode="max"
            ),
            keras.callbacks.TensorBoard(str(tmp_path / "logs")),
        ],
    )
    assert len(history.history["loss"]) < 6
    assert best.stat().st_size > 0
    assert list((tmp_path / "logs").rglob("events.out.tfevents.*"))


BAD = {
    "no texts": (([], []), "`x` is empty"),
    "one class": ((["a", "b"], ["x", "x"]), "one class only: 'x' in all 2 rows"),
    "one class of ints": ((["a", "b"], [0, 0]), "one class only"),
    "no labels": ((["a", "b"], None), "`y` is missing"),
    "lengths differ": ((["a", "b"], ["x"]), "one label for each of the 2 texts"),
    "a number among texts": ((["a", 3], ["x", "y"]), "`x` row 1 must be a string"),
    "one string": (("a text", ["x"]), "must be a list of texts"),
    "mixed rows": ((["a", ("b", "c")], ["x", "y"]), "mixes single texts and pairs"),
    "fractions": ((["a", "b"], [0.5, 1.0]), "whole numbers or strings"),
    "columns differ": (((["a", "b"], ["c"]), ["x", "y"]), "two columns of equal length"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_training_data_is_one_clear_error(case, tiny_classifier):
    (x, y), said = BAD[case]
    with pytest.raises(InputError) as error:
        tiny_classifier().fit(x, y, epochs=1, verbose=0)
    assert said in str(error.value)


def test_labels_never_seen_in_training(tiny_classifier, reviews):
    model = tiny_classifier()
    model.fit(*reviews, epochs=1, verbose=0)
    with pytest.raises(InputError, match=r"row 1 is 'meh', a label never seen in training"):
        model.evaluate(["good", "so so"], ["pos", "meh"], verbose=0)
    with pytest.raises(InputError, match="never seen"):
        model.fit(*reviews, verbose=0, validation_data=(["x"], ["meh"]))
    with pytest.raises(InputError, match="row 0 is 2"):
        model.evaluate(["good"], [2], verbose=0)
    ints = tiny_classifier()
    ints.fit(reviews[0], [0, 1] * 20, epochs=1, verbose=0)
    with pytest.raises(InputError, match="made for integer labels 0 to 1"):
        ints.evaluate(["good"], ["pos"], verbose=0)


def test_unfitted_head_says_what_to_do(tiny_classifier):
    with pytest.raises(InputError, match="Call fit, or pass `num_classes=`"):
        tiny_classifier().predict(["a"], verbose=0)
    with pytest.raises(InputError, match="distinct"):
        tiny_classifier().set_labels(["a", "a"])
    with pytest.raises(InputError, match="3 names, but the model has 2 classes"):
        tiny_classifier(num_classes=2).set_labels(["a", "b", "c"])


def test_keras_inputs_still_work(tiny_classifier, reviews):
    """Token ids straight into Keras, for those who have them."""
    model = tiny_classifier(num_classes=2)
    inputs = model.text.encode(reviews[0])
    labels = np.array([label == "pos" for label in reviews[1]], "int32")
    model.compile()
    model.fit(inputs, labels, epochs=1, verbose=0)
    np.testing.assert_allclose(
        model.predict(inputs, verbose=0), model.predict(reviews[0], verbose=0), atol=1e-5
    )


def test_freezing_switches_dropout(tiny_classifier):
    """A frozen trunk is deterministic in training mode; a trainable one is not."""
    model = tiny_classifier(num_classes=2, head={"dropout": 0.0})
    x = model.text.encode(["good film", "a cat"])
    plain = np.asarray(model(x))
    np.testing.assert_array_equal(np.asarray(model(x, training=True)), plain)
    model.unfreeze_trunk()
    assert np.abs(np.asarray(model(x, training=True)) - plain).max() > 1e-3
    # All but the dropout states and the pooler, which mean pooling does not use.
    assert len(model.trainable_variables) == len(model.weights) - _states(model) - 2
    model.freeze_trunk()
    np.testing.assert_array_equal(np.asarray(model(x, training=True)), plain)
    assert {id(v) for v in model.trainable_variables} == {id(v) for v in model.head.weights}


def _states(model):
    return sum("seed" in v.path for v in model.weights)
