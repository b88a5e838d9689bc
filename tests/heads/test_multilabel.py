"""MultiLabel: forms of labels, its loss in numpy, scores of scikit-learn, saved thresholds."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from sklearn.metrics import f1_score, label_ranking_average_precision_score
from tiny import NEGATIVE, POSITIVE, make_model, make_tiny_trunk

import kzoo
from kzoo.datasets import Split
from kzoo.distillation import DistillationError
from kzoo.errors import AdapterError, InputError
from kzoo.heads.multilabel import KnownCrossentropy

TEXTS = (POSITIVE + NEGATIVE) * 2
WORDS = ["bad", "cat", "film", "good"]
SETS = [[word for word in WORDS if word in text.split()] for text in TEXTS]
MATRIX = np.asarray([[word in own for word in WORDS] for own in SETS], "int8")
FIT = {"epochs": 40, "batch_size": 5, "verbose": 0}


def make(**options):
    head = {"kind": "multilabel", "dropout": 0.0, **options}
    training = {"learning_rate": 0.03}
    model = make_model(kzoo.Model, make_tiny_trunk(), max_tokens=32, head=head, training=training)
    model.adapters.add("a", "lora[r=4]")
    return model


@pytest.fixture(scope="module")
def fitted():
    model = make()
    model.fit(TEXTS, SETS, **FIT)
    return model


def test_learns_sets(fitted):
    assert fitted.head.labels == WORDS
    assert [] in SETS  # a row may have none
    assert fitted.decode(fitted.predict(TEXTS, verbose=0)) == SETS
    found = fitted.evaluate(TEXTS, SETS, verbose=0, return_dict=True)
    assert found["micro_f1"] == found["macro_f1"] == found["lrap"] == 1.0


def test_scores_are_sklearns(fitted):
    rng = np.random.default_rng(0)
    true = np.where(rng.random(MATRIX.shape) < 0.3, 1 - MATRIX, MATRIX)
    weights = rng.uniform(0.1, 2, len(TEXTS))
    options = {"verbose": 0, "return_dict": True, "batch_size": 3, "sample_weight": weights}
    found = fitted.evaluate(TEXTS, true, **options)
    outputs = fitted.predict(TEXTS, verbose=0)
    for average in ("micro", "macro"):
        expected = f1_score(true, outputs >= 0, average=average, sample_weight=weights)
        assert found[f"{average}_f1"] == pytest.approx(expected, abs=1e-6)
    expected = label_ranking_average_precision_score(true, outputs, sample_weight=weights)
    assert found["lrap"] == pytest.approx(expected, abs=1e-6)


FORMS = {
    "lists": SETS,
    "tuples": [tuple(own) for own in SETS],
    "sets": [set(own) for own in SETS],
    "arrays": [np.asarray(own, str) for own in SETS],
    "pandas": pd.Series(SETS),
    "bytes": [[word.encode() for word in own] for own in SETS],
    "split": Split(TEXTS, labels=MATRIX, label_names=WORDS),
    "split in another order": Split(
        TEXTS, labels=np.pad(MATRIX[:, ::-1], ((0, 0), (1, 0))), label_names=["x", *WORDS[::-1]]
    ),
}
MATRICES = {
    "ints": MATRIX,
    "bools": MATRIX > 0,
    "floats": MATRIX.astype("float64"),
    "rows": MATRIX.tolist(),
    "pandas": pd.Series(list(MATRIX)),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_sets(form):
    model = make(labels=WORDS)
    x, y = (FORMS[form], None) if form.startswith("split") else (TEXTS, FORMS[form])
    _, labels = next(iter(model.prepare(x, y, batch_size=len(TEXTS))))
    np.testing.assert_array_equal(labels, MATRIX)
    assert labels.dtype == tf.int8


@pytest.mark.parametrize("form", MATRICES)
def test_forms_of_matrices(form):
    model = make()
    model.fit(TEXTS, MATRICES[form], epochs=1, verbose=0)
    assert (model.head.num_classes, model.head.labels) == (4, None)
    _, labels = next(iter(model.prepare(TEXTS, MATRICES[form], batch_size=len(TEXTS))))
    np.testing.assert_array_equal(labels, MATRIX)
    marks = model.head.marks(np.asarray([[1.0, -1.0, -1.0, 1.0]]))
    assert model.decode(np.where(marks, 1.0, -1.0)) == [[0, 3]]


def test_rows_of_one_label_each_and_single_names():
    model = make()
    model.fit(["a good film", "a bad film"], [["good"], ["bad"]], epochs=1, verbose=0)
    assert model.head.labels == ["bad", "good"]
    _, labels = next(iter(model.prepare(["one", "two", "a"], ["bad", "good", "bad"])))
    assert labels.numpy().tolist() == [[1, 0], [0, 1], [1, 0]]
    _, labels = next(iter(model.prepare(["one", "two"], [[], []])))
    assert labels.numpy().tolist() == [[0, 0], [0, 0]]


def test_what_is_missing_is_masked(fitted):
    """NaN, None and -1 are the same, and are as if the entries were not there."""
    rng = np.random.default_rng(1)
    gaps = rng.random(MATRIX.shape) < 0.4
    gaps[3] = True  # nothing is known of this row
    pairs = zip(gaps, MATRIX, strict=True)
    forms = [
        np.where(gaps, np.nan, MATRIX),
        np.where(gaps, -1, MATRIX),
        [[None if g else int(v) for g, v in zip(*row, strict=True)] for row in pairs],
    ]
    found = [fitted.evaluate(TEXTS, form, verbose=0, batch_size=20) for form in forms]
    np.testing.assert_allclose(found[1], found[0])
    np.testing.assert_allclose(found[2], found[0])
    z = fitted.predict(TEXTS, verbose=0).astype("float64")
    losses = np.log1p(np.exp(-np.where(MATRIX > 0, z, -z)))
    assert found[0][0] == pytest.approx(losses[~gaps].mean(), rel=1e-4)
    logits = tf.Variable(z.astype("float32"))
    with tf.GradientTape() as tape:
        loss = KnownCrossentropy()(forms[0].astype("float32"), logits)
    gradient = tape.gradient(loss, logits).numpy()
    assert (gradient[gaps] == 0).all() and (gradient[~gaps] != 0).all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_loss_is_its_formula(gamma):
    rng = np.random.default_rng(2)
    y = rng.integers(-1, 2, (8, 5))
    z = rng.normal(size=(8, 5)) * 3
    z[0, :2], y[0, :2] = [60.0, -60.0], [1, 1]  # p is 1, and 0, in float32
    w = rng.uniform(0, 2, 8)
    p = 1 / (1 + np.exp(-z))
    p_t = np.where(y == 1, p, 1 - p)
    p_t[0, 0], log = 1.0, np.log(np.maximum(p_t, 1e-300))
    log[0, 1] = -60.0
    values = -((1 - p_t) ** gamma) * log
    loss = KnownCrossentropy(gamma)
    found = float(loss(y, z.astype("float32"), w))
    assert found == pytest.approx((values * w[:, None])[y >= 0].sum() / (y >= 0).sum(), rel=1e-5)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert float(again(y, z.astype("float32"), w)) == found
    if not gamma:
        known = np.maximum(y, 0)
        peer = keras.losses.BinaryCrossentropy(from_logits=True)(known, z.astype("float32"), w)
        assert float(loss(known, z.astype("float32"), w)) == pytest.approx(float(peer), rel=1e-5)


def test_focal_is_chosen_by_the_head():
    model = make(loss="focal", gamma=1.5)
    model.fit(TEXTS, SETS, epochs=1, verbose=0)
    assert (model.loss.gamma, model.loss.name) == (1.5, "focal")
    config = model.head.get_config()
    assert (config["loss"], config["gamma"]) == ("focal", 1.5)
    for options, said in (
        ({"loss": "hinge"}, "`loss` must be one of cross_entropy, focal"),
        ({"gamma": 1.0}, "`gamma` is no option of the loss 'cross_entropy'"),
        ({"loss": "focal", "gamma": -1}, "`gamma` must be 0 or more"),
    ):
        with pytest.raises(InputError, match=said):
            kzoo.heads.MultiLabel(**options)


# --- Thresholds ----------------------------------------------------------------------------------


def test_thresholds_change_answers_and_scores_and_are_saved(tmp_path):
    model = make()
    model.fit(TEXTS, SETS, epochs=1, verbose=0)
    outputs = model.predict(TEXTS, verbose=0)
    before = model.evaluate(TEXTS, SETS, verbose=0, return_dict=True)
    assert model.head.thresholds == [0.5] * 4
    found = model.head.tune_thresholds(SETS, outputs)
    assert found == model.head.thresholds != [0.5] * 4
    after = model.evaluate(TEXTS, SETS, verbose=0, return_dict=True)
    marks = np.asarray([[word in own for word in WORDS] for own in model.decode(outputs)])
    expected = f1_score(MATRIX, marks, average="macro")
    assert after["macro_f1"] == pytest.approx(expected) and expected > before["macro_f1"]
    assert after["lrap"] == before["lrap"] and after["loss"] == pytest.approx(before["loss"])
    model.head.tune_thresholds(MATRIX, outputs, "micro", np.ones(len(TEXTS)))
    micro = model.evaluate(TEXTS, SETS, verbose=0, return_dict=True)
    assert micro["micro_f1"] >= after["micro_f1"] and micro["macro_f1"] <= after["macro_f1"]

    decoded, thresholds = model.decode(outputs), model.head.thresholds
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert again.head.thresholds == thresholds
    assert again.decode(again.predict(TEXTS, verbose=0)) == decoded
    assert again.evaluate(TEXTS, SETS, verbose=0, return_dict=True) == pytest.approx(micro)
    model.adapters.save("a", tmp_path / "a")
    other = make()
    other.adapters.delete("a")
    other.adapters.load(tmp_path / "a")
    assert other.head.thresholds == thresholds and other.head.labels == WORDS
    assert other.decode(other.predict(TEXTS, verbose=0)) == decoded
    with pytest.raises(AdapterError, match="of kind multilabel, this model's of kind classify"):
        make(kind="classify").adapters.load(tmp_path / "a", name="b")


def test_thresholds_belong_to_an_adapter(fitted):
    fitted.head.set_thresholds({"good": 0.9})
    fitted.adapters.add("b", "lora[r=2]")
    fitted.fit(TEXTS, [["x"] if own else [] for own in SETS], epochs=1, verbose=0)
    assert (fitted.head.labels, fitted.head.thresholds) == (["x"], [0.5])
    outputs = fitted.predict(TEXTS, verbose=0)
    fitted.adapters.activate(kzoo.PerRow("a", "b"))
    names = ["a", "b"] * 10
    mixed = fitted.predict(TEXTS, adapter_names=names, verbose=0)
    np.testing.assert_allclose(mixed[1::2, :1], outputs[1::2], atol=1e-5)
    with pytest.raises(InputError, match="adapters with different labels or thresholds"):
        fitted.decode(mixed)
    fitted.adapters.activate("a")
    assert fitted.head.thresholds == pytest.approx([0.5, 0.5, 0.5, 0.9])
    fitted.adapters.delete("b")
    fitted.head.set_thresholds(0.5)


@pytest.mark.parametrize(
    ("thresholds", "said"),
    [
        (1.0, "between 0 and 1"),
        ([0.5, 0.5], r"one number, or 4. Received shape: \(2,\)"),
        ({"dog": 0.5}, "'dog', which is no label"),
    ],
)
def test_wrong_thresholds(fitted, thresholds, said):
    with pytest.raises(InputError, match=said):
        fitted.head.set_thresholds(thresholds)


def test_a_head_without_a_trunk_tells_its_model():
    """Scores follow the thresholds also where no trunk knows the models."""
    x = keras.Input((4,), name="x")
    model = kzoo.Model(x, kzoo.heads.MultiLabel(num_classes=4, dropout=0.0)(x))
    features = MATRIX.astype("float32")
    model.compile()
    before = model.evaluate(features, MATRIX, verbose=0, return_dict=True)
    outputs = model.predict(features, verbose=0)
    model.head.tune_thresholds(MATRIX, outputs)
    after = model.evaluate(features, MATRIX, verbose=0, return_dict=True)
    expected = f1_score(MATRIX, model.head.marks(outputs), average="macro")
    assert after["macro_f1"] == pytest.approx(expected) and expected > before["macro_f1"]


def test_soft_targets_are_of_one_class_a_row():
    """A softmax over labels that do not exclude each other would be another task."""
    x = keras.Input((4,), name="x")
    teacher, student = (
        kzoo.Model(x, kzoo.heads.MultiLabel(num_classes=4, dropout=0.0, seed=seed)(x))
        for seed in (1, 2)
    )
    with pytest.raises(DistillationError, match=r"of kind multilabel.*'logits_mse'"):
        kzoo.Distiller(teacher, student)
    distiller = kzoo.Distiller(teacher, student, "logits_mse", student_loss_weight=0.0)
    distiller.compile(keras.optimizers.Adam(0.05))
    features = MATRIX.astype("float32")
    distiller.fit(features, MATRIX, epochs=60, verbose=0)
    found, expected = (np.asarray(model(features)) for model in (student, teacher))
    assert np.abs(found - expected).max() < 0.02


# --- Ways in -------------------------------------------------------------------------------------


def test_streams():
    model = make()
    data = tf.data.Dataset.from_tensor_slices((TEXTS, MATRIX)).batch(5)
    history = model.fit(data, epochs=1, validation_data=data, verbose=0).history
    assert model.head.num_classes == 4 and "val_micro_f1" in history
    scores = model.evaluate(data, verbose=0, return_dict=True)
    whole = model.evaluate(TEXTS, MATRIX, verbose=0, return_dict=True)
    assert scores["macro_f1"] == pytest.approx(whole["macro_f1"])


def test_validation_split_of_a_dataset_keeps_the_names():
    split = Split(TEXTS, labels=MATRIX[:, ::-1], label_names=WORDS[::-1])
    model = make(labels=WORDS)
    seen = []
    spy = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(
            model.evaluate(TEXTS[10:], SETS[10:], verbose=0, return_dict=True)
        )
    )
    logs = model.fit(split, epochs=1, validation_split=0.5, callbacks=[spy], verbose=0).history
    for name in ("loss", "micro_f1", "lrap"):
        assert logs[f"val_{name}"][0] == pytest.approx(seen[0][name], rel=1e-4)
    gaps = Split(TEXTS, labels=np.where(MATRIX, -1, 0), label_names=WORDS)
    with pytest.raises(InputError, match="`validation_split` knows no missing labels"):
        make().fit(gaps, validation_split=0.5, verbose=0)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([["good"]] * 19 + [["dog"]], "row 19 has 'dog', a label never seen"),
        ([["good"]] * 19 + [None], "row 19 must be a list of label names"),
        ([["good"]] * 19 + [[3, 4]], "row 19 must be a list of label names"),
        ([[0, 1, 0, 2]] * 20, "row 0 has 2 in column 3"),
        ([[0, 1, 0]] * 20, r"must have 4 columns.*\(20, 3\)"),
        ([3] * 20, "row 0 has 3 in column 0"),
    ],
)
def test_bad_labels_are_named(labels, said):
    with pytest.raises(InputError, match=said):
        make(labels=WORDS).fit(TEXTS, labels, epochs=1, verbose=0)


def test_what_cannot_be_learned_is_refused(fitted):
    with pytest.raises(InputError, match="no label in any of the 20 rows"):
        make().fit(TEXTS, [set() for _ in TEXTS], verbose=0)
    with pytest.raises(InputError, match="no known entry"):
        make().fit(TEXTS, np.full((20, 3), np.nan), verbose=0)
    with pytest.raises(InputError, match="made for a matrix of 4 columns"):
        make(num_classes=4).evaluate(TEXTS, SETS, verbose=0)
    with pytest.raises(InputError, match="`class_weight`"):
        fitted.fit(TEXTS, SETS, class_weight={"good": 2.0}, verbose=0)
    with pytest.raises(InputError, match="not known yet"):
        make().predict(TEXTS, verbose=0)
