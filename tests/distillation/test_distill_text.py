"""Raw strings, one tokeniser or two, and the label vocabularies."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from distillation_toys import FakeText, cross_entropy, soft_kl, text_model

from kzoo.distillation import Distiller

GOOD = ["good day", "good food", "very good", "so good it is"]
BAD = ["bad day", "bad food", "very bad", "so bad it is"]
TEXTS, LABELS = GOOD + BAD, ["pos"] * 4 + ["neg"] * 4
NAMES = ["neg", "pos"]
IDS = np.array([NAMES.index(label) for label in LABELS])


def pair(teacher_text, student_text, labels=(NAMES, None)):
    teacher = text_model(8, "teacher", teacher_text, seed=1, labels=labels[0])
    student = text_model(4, "student", student_text, seed=2, labels=labels[1])
    return teacher, student


def make(teacher, student, **kwargs):
    distiller = Distiller(teacher, student, **kwargs)
    return distiller.compile(keras.optimizers.Adam(0.05), cross_entropy(), metrics=["accuracy"])


def expected_kl(teacher, student):
    t, s = (m(m.text.encode(TEXTS), training=False).numpy() for m in (teacher, student))
    return soft_kl(t, s)


def test_one_encoding_serves_both_models():
    teacher, student = pair(FakeText(), FakeText())
    distiller = make(teacher, student)
    logs = distiller.evaluate(TEXTS, LABELS, batch_size=3, verbose=0, return_dict=True)
    assert teacher.text.encoded == [] and len(student.text.encoded) == 8
    kl = expected_kl(teacher, student).mean()
    assert logs["distillation_loss"] == pytest.approx(kl, rel=1e-5)


@pytest.mark.parametrize(
    "student_text",
    [
        pytest.param(FakeText("b", 32), id="another tokeniser"),
        pytest.param(FakeText(keys=("token_ids", "padding_mask")), id="fewer inputs"),
    ],
)
def test_each_model_gets_its_own_encoding(student_text):
    keys = ("token_ids", "segment_ids", "padding_mask")
    teacher, student = pair(FakeText(keys=keys), student_text)
    distiller = make(teacher, student)
    w = np.linspace(0.0, 2.0, 8)
    logs = distiller.evaluate(
        TEXTS, LABELS, batch_size=3, sample_weight=w, verbose=0, return_dict=True
    )
    kl = expected_kl(teacher, student)
    assert logs["distillation_loss"] == pytest.approx((w * kl).mean(), rel=1e-5)
    history = distiller.fit(
        TEXTS, LABELS, epochs=15, batch_size=4, validation_data=(TEXTS, LABELS), verbose=0
    ).history
    assert history["val_accuracy"][-1] == 1.0
    predictions = distiller.predict(TEXTS, verbose=0)
    np.testing.assert_allclose(predictions, student(student.text.encode(TEXTS)).numpy(), atol=1e-6)


@pytest.mark.parametrize("salt", ["a", "b"])
def test_every_form_of_text_gives_the_same_losses(salt):
    teacher, student = pair(FakeText(), FakeText(salt))
    distiller = make(teacher, student)
    forms = [
        (TEXTS, LABELS),
        (np.array(TEXTS), IDS),
        (types.SimpleNamespace(inputs=TEXTS, labels=LABELS), None),
        (tf.data.Dataset.from_tensor_slices((TEXTS, IDS)), None),
    ]
    logs = [distiller.evaluate(x, y, verbose=0, return_dict=True) for x, y in forms]
    for other in logs[1:]:
        assert other == pytest.approx(logs[0])
    dataset = forms[2][0]
    history = distiller.fit(dataset, validation_data=dataset, verbose=0).history
    assert {"val_loss", "val_student_loss", "val_accuracy"} <= set(history)


def test_pairs_of_strings_and_a_teacher_that_alone_prepares_text():
    teacher, student = pair(FakeText(), FakeText("b"))
    pairs = [(text, "yes") for text in TEXTS]
    history = make(teacher, student).fit(pairs, LABELS, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    teacher, student = pair(FakeText(), FakeText(), (NAMES, NAMES))
    plain = keras.Model(student.input, student.output)
    logs = make(teacher, plain).evaluate(TEXTS, LABELS, verbose=0, return_dict=True)
    kl = expected_kl(teacher, student).mean()
    assert logs["distillation_loss"] == pytest.approx(kl, rel=1e-5)


def test_two_tokenisers_shuffle_texts_and_labels_together():
    teacher, student = pair(FakeText(), FakeText("b"), (NAMES, NAMES))
    weights = np.arange(8.0)

    def prepare(**options):
        options = {"batch_size": 3, "shuffle": True, **options}
        return Distiller(teacher, student).prepare(TEXTS, LABELS, weights, **options)

    batches = prepare()
    assert int(batches.cardinality()) == 3
    orders = []
    for _ in range(2):
        orders.append([])
        for inputs, ids, weight in batches.as_numpy_iterator():
            rows = weight.astype(int)
            orders[-1].extend(rows)
            np.testing.assert_array_equal(ids, IDS[rows])
            for role, model in (("teacher", teacher), ("student", student)):
                wanted = model.text.encode([TEXTS[i] for i in rows])["token_ids"]
                np.testing.assert_array_equal(inputs[f"{role}/token_ids"], wanted)
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(8))
    assert orders[0] != orders[1] != list(range(8))
    assert [int(w) for _, _, ws in prepare().as_numpy_iterator() for w in ws] == orders[0]
    later = prepare(first_epoch=1).as_numpy_iterator()
    assert [int(w) for _, _, ws in later for w in ws] == orders[1]


def test_training_that_goes_on_has_the_orders_of_one_that_was_not_interrupted(
    tiny_classifier, reviews
):
    def distiller():
        teacher, student = (
            tiny_classifier(labels=("neg", "pos"), head={"dropout": 0.0}, trunk_seed=seed)
            for seed in (1, 2)
        )
        return Distiller(teacher, student).compile("sgd")

    options = {"batch_size": 3, "verbose": 0}
    whole = distiller().fit(*reviews, epochs=2, **options).history["loss"]
    parted = distiller()
    first = parted.fit(*reviews, epochs=1, **options).history["loss"]
    second = parted.fit(*reviews, epochs=2, initial_epoch=1, **options).history["loss"]
    np.testing.assert_allclose([*first, *second], whole, rtol=1e-6)


def test_a_recipe_gives_the_training_defaults():
    teacher, student = pair(FakeText(), FakeText())
    distiller = Distiller(teacher, student)
    distiller.fit(TEXTS, LABELS, verbose=0)
    assert float(distiller.optimizer.learning_rate) == 0.125
    assert not student.compiled  # left as it was


class Splits(dict):
    splits = property(lambda self: self)


def test_a_dataset_brings_its_validation_and_test_splits():
    teacher, student = pair(FakeText(), FakeText("b"))
    split = types.SimpleNamespace(inputs=TEXTS, labels=LABELS)
    dataset = Splits(train=split, validation=split, test=split)
    distiller = make(teacher, student)
    history = distiller.fit(dataset, verbose=0).history
    assert "val_loss" in history
    logs = distiller.evaluate(dataset, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(history["val_loss"][0], rel=1e-5)


def test_labels_are_one_vocabulary():
    teacher, student = pair(FakeText(), FakeText())
    Distiller(teacher, student)
    assert student.head.labels == NAMES
    teacher, student = pair(FakeText(), FakeText(), (NAMES, ["pos", "neg"]))
    with pytest.raises(ValueError, match=r"\['pos', 'neg'\] differ .* \['neg', 'pos'\]"):
        Distiller(teacher, student)


def test_bad_text_input_is_named():
    teacher, student = pair(FakeText(), FakeText("b"))
    distiller = make(teacher, student)
    with pytest.raises(ValueError, match="one label for each of the 8 texts"):
        distiller.fit(TEXTS, LABELS[1:], verbose=0)
    with pytest.raises(ValueError, match="`x` row 1 must be a string"):
        distiller.fit([TEXTS[0], 3], LABELS[:2], verbose=0)
    # What was refused before works now.
    history = distiller.fit(TEXTS, LABELS, validation_split=0.25, verbose=0).history
    assert "val_loss" in history


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (["a"], True),
        ([("a", "b")], True),
        (np.array(["a"]), True),
        (np.array(["a"], dtype=object), True),
        (tf.data.Dataset.from_tensor_slices(["a"]), True),
        (tf.data.Dataset.from_tensor_slices((["a"], [1])), True),
        ([[1, 2]], True),  # no row is a text, which is said where it is read
        (np.zeros(3), False),
        ({"token_ids": np.zeros(3)}, False),
        (tf.data.Dataset.from_tensor_slices(([1], ["label"])), False),
        (None, False),
    ],
)
def test_is_raw(x, expected):
    assert Distiller(*pair(FakeText(), FakeText())).is_raw(x) is expected


def test_a_loaded_distiller_has_the_schedule_of_its_student(tiny_classifier, reviews, tmp_path):
    teacher, student = (
        tiny_classifier(labels=("neg", "pos"), trunk_seed=seed, training={"learning_rate": 0.25})
        for seed in (1, 2)
    )

    class Rates(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.seen = []

        def on_train_batch_begin(self, batch, logs=None):
            self.seen.append(float(self.model.optimizer.learning_rate))

    first, second = Rates(), Rates()
    distiller = Distiller(teacher, student)
    distiller.fit(*reviews, epochs=1, batch_size=4, verbose=0, callbacks=[first])
    assert first.seen[0] < max(first.seen) and first.seen[-1] < 0.2 * max(first.seen)
    distiller.save(tmp_path / "d.keras")
    again = keras.models.load_model(tmp_path / "d.keras")
    again.fit(*reviews, epochs=1, batch_size=4, verbose=0, callbacks=[second])
    np.testing.assert_allclose(second.seen, first.seen, rtol=1e-6)


def test_a_generator_as_student_has_its_recipes_training():
    from tests.models.test_generator import make_generator

    teacher, student = make_generator(), make_generator(adapter="lora[r=2]")
    distiller = Distiller(teacher, student)
    history = distiller.fit(["abc", "bca", "cab", "acb"], verbose=0).history
    assert len(history["loss"]) == student.training_settings.epochs == 3
    assert distiller._recipe_schedule and "distillation_loss" in history
    assert float(distiller.optimizer.learning_rate) == pytest.approx(1e-3)
