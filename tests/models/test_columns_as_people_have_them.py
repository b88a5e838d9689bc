"""Labels, weights and streams as they come, each with the value that is right."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import kzoo
from kzoo.errors import InputError

TEXTS = ["good film", "bad film"] * 5


@pytest.fixture
def fit(tiny_classifier):
    """Fits a tiny classifier for an epoch and gives it back."""

    def run(*data, model=None, **options):
        model = model or tiny_classifier()
        model.fit(*data, epochs=1, batch_size=2, verbose=0, **options)
        return model

    return run


# --- Labels --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "outputs", "names"),
    [
        ([2020, 2021] * 5, 2, ["2020", "2021"]),
        ([5, 1] * 5, 2, ["1", "5"]),
        ([0, 100_000] * 5, 2, ["0", "100000"]),
        ([-1, 1] * 5, 2, ["-1", "1"]),
        ([0, 1] * 5, 2, None),
        ([0, 2] * 5, 3, None),
    ],
)
def test_integers_that_are_no_ids_are_names(labels, outputs, names, fit, tmp_path):
    model = fit(TEXTS, labels)
    assert model.predict(TEXTS, verbose=0).shape == (10, outputs)
    assert model.labels == names
    assert set(model.predict_values(TEXTS)) <= set(labels)
    ids = model.head.targets(np.asarray(labels))
    expected = labels if names is None else [names.index(str(value)) for value in labels]
    np.testing.assert_array_equal(ids, expected)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert loaded.predict_values(TEXTS) == model.predict_values(TEXTS)
    np.testing.assert_array_equal(loaded.head.targets(np.asarray(labels)), ids)
    with pytest.raises(InputError, match="never seen"):
        model.evaluate(TEXTS, [7, 8] * 5, verbose=0)


def test_names_of_integers_go_along(fit, tiny_classifier, tmp_path):
    """With an adapter's file, and from a teacher to its student."""
    model = fit(TEXTS, [2020, 2021] * 5, model=tiny_classifier("lora"))
    model.adapters.save("default", tmp_path / "a")
    other = tiny_classifier()
    other.adapters.load(tmp_path / "a", "b")
    assert other.predict_values(TEXTS) == model.predict_values(TEXTS)
    assert set(other.predict_values(TEXTS)) <= {2020, 2021}
    student = tiny_classifier()
    kzoo.Distiller(model, student).fit(TEXTS, [2020, 2021] * 5, epochs=1, verbose=0)
    assert set(student.predict_values(TEXTS)) <= {2020, 2021}


@pytest.mark.parametrize("missing", [None, float("nan"), np.nan, pd.NaT, pd.NA])
@pytest.mark.parametrize("known", ["a", 1])
def test_a_missing_label_is_none(missing, known, fit):
    labels = [known, known, missing, *["b" if known == "a" else 0] * 7]
    for column in (labels, pd.Series(labels), np.asarray(labels, object)):
        with pytest.raises(InputError, match="row 2 has no label"):
            fit(TEXTS, column)


def test_one_hot_rows_are_classes(fit):
    ids = np.asarray([0, 2] * 5)
    hot = np.eye(4)[ids]
    rows = tf.data.Dataset.from_tensor_slices((TEXTS, hot))
    for data in ((TEXTS, hot), (rows,), (rows.batch(2),)):
        model = fit(*data)
        assert model.predict(TEXTS, verbose=0).shape == (10, 4)
        scores = model.evaluate(*data, verbose=0, return_dict=True)
        assert scores == pytest.approx(model.evaluate(TEXTS, ids, verbose=0, return_dict=True))
    with pytest.raises(InputError, match="one-hot"):
        fit(TEXTS, hot * 0.8 + 0.05)


# --- Weights -------------------------------------------------------------------------------------


def test_class_weights(fit, tiny_classifier):
    """A class that is not named weighs 1; a name that is none is refused."""
    labels = ["pos", "neg"] * 5
    kept = [
        fit(TEXTS, labels, class_weight=weights, shuffle=False).head.get_weights()
        for weights in ({"neg": 3.0}, {"neg": 3.0, "pos": 1.0}, None)
    ]
    for a, b in zip(kept[0], kept[1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(kept[0], kept[2], strict=True))
    for unknown in ("neutral", 7):
        with pytest.raises(InputError, match=f"`class_weight` has {unknown!r}"):
            fit(TEXTS, labels, class_weight={unknown: 2.0})
    teacher, student = fit(TEXTS, labels), fit(TEXTS, labels)
    kzoo.Distiller(teacher, student).fit(
        TEXTS, labels, epochs=1, class_weight={"neg": 3.0}, verbose=0
    )


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_weight_is_a_number(bad, fit):
    with pytest.raises(InputError, match="`sample_weight` row 3"):
        fit(TEXTS, [0, 1] * 5, sample_weight=[1.0, 1.0, 1.0, bad, *[1.0] * 6])


# --- Streams -------------------------------------------------------------------------------------


def test_streams_of_any_declared_shape(fit):
    labels = [0, 1] * 5
    plain = tf.data.Dataset.from_tensor_slices((TEXTS, labels))

    def flow():
        return zip(TEXTS, labels, strict=True)

    unknown = tf.data.Dataset.from_generator(flow, output_types=(tf.string, tf.int32))
    hidden = plain.map(lambda *e: tf.py_function(lambda *t: t, e, (tf.string, tf.int32)))
    streams = [unknown, unknown.batch(2), hidden, hidden.batch(2), plain.batch(2, True)]
    model = fit(plain)
    expected = model.predict(TEXTS, verbose=0)
    score = model.evaluate(TEXTS, labels, verbose=0)
    for stream in streams:
        assert fit(stream, model=model) is model
    for stream in streams[:-1]:
        assert model.predict(stream.map(lambda text, label: text), verbose=0).shape == (10, 2)
    model = fit(plain)
    for stream in streams:
        assert model.evaluate(stream, verbose=0) == pytest.approx(score, abs=1e-5)
    batches = tf.data.Dataset.from_tensor_slices(TEXTS).batch(2, drop_remainder=True).prefetch(1)
    found = model.predict(batches, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    with pytest.raises(InputError, match="a pair, or a batch of two"):
        model.predict(batches.map(lambda text: text), verbose=0)


def test_rows_of_pairs_are_pairs(fit):
    pairs = np.asarray([TEXTS, TEXTS[::-1]]).T
    model = fit([tuple(pair) for pair in pairs], [0, 1] * 5)
    expected = model.predict([tuple(pair) for pair in pairs], verbose=0)
    found = model.predict(tf.data.Dataset.from_tensor_slices(pairs), verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


# --- Texts and paths -----------------------------------------------------------------------------


def test_half_a_surrogate_pair_is_named(fit):
    with pytest.raises(InputError, match="row 1 holds half of a surrogate pair"):
        fit(["a", "b \ud800", *TEXTS[2:]], [0, 1] * 5)


def test_home_folders_are_found(fit, tiny_classifier, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    model = fit(TEXTS, [0, 1] * 5, model=tiny_classifier("lora"))
    model.adapters.save("default", "~/a")
    model.save("~/m.keras")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "m.keras"]
    model.adapters.load("~/a", "b")
    with pytest.raises(InputError, match=r"\.keras"):
        model.save("~/m.h5")


def test_a_teacher_alone_teaches(fit, tiny_classifier):
    teacher = fit(TEXTS, [0, 1] * 5)
    student = tiny_classifier()
    distiller = kzoo.Distiller(teacher, student, student_loss_weight=0.0)
    history = distiller.fit(TEXTS, epochs=2, verbose=0).history
    assert history["loss"] == history["distillation_loss"]
    assert {"accuracy", "macro_f1"}.isdisjoint(history)
    logs = distiller.evaluate(TEXTS, verbose=0, return_dict=True)
    assert 0 < logs["loss"] == pytest.approx(logs["distillation_loss"])
