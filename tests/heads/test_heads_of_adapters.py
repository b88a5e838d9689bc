"""An adapter owns its heads: they come with `activate`, answer by row, and are saved with it."""

import numpy as np
import pytest
from tiny import NEGATIVE, POSITIVE

import kzoo
from kzoo.errors import AdapterError

A = (POSITIVE + NEGATIVE, ["pos"] * 5 + ["neg"] * 5)
# Another task on the same texts: other labels, more classes, another rule.
B = (POSITIVE + NEGATIVE, [["short", "long", "longer"][len(t) % 3] for t in POSITIVE + NEGATIVE])
FIT = {"epochs": 30, "batch_size": 10, "verbose": 0}


@pytest.fixture(scope="module")
def trained():
    """Adapter a trained on A, then b added and trained on B."""
    from tiny import make_model, make_tiny_trunk

    model = make_model(
        kzoo.TextClassifier,
        make_tiny_trunk(),
        max_tokens=32,
        head={"dropout": 0.0},
        training={"learning_rate": 0.03},
    )
    model.adapters.add("a", "lora[r=4]")
    model.fit(*A, **FIT)
    answers = model.predict(A[0], verbose=0)
    assert model.predict_labels(A[0], verbose=0) == A[1]
    model.adapters.add("b", "pfeiffer[reduction_factor=4]")
    model.fit(*B, **FIT)
    return model, answers, model.predict(B[0], verbose=0)


def test_each_answers_its_own_task(trained):
    model, a, _ = trained
    model.adapters.activate("b")
    assert model.labels == ["long", "longer", "short"] and model.num_classes == 3
    assert model.predict_labels(B[0], verbose=0) == B[1]
    model.adapters.activate("a")
    assert model.labels == ["neg", "pos"]
    assert model.predict_labels(A[0], verbose=0) == A[1]
    np.testing.assert_allclose(model.predict(A[0], verbose=0), a, atol=1e-5)
    scores = model.evaluate(*A, verbose=0, return_dict=True)
    assert scores["accuracy"] == 1.0 and scores["macro_f1"] == 1.0
    # Its head is trained with it, and the other's is not.
    own = {id(v) for v in model.head.of("a").weights}
    other = {id(v) for v in model.head.of("b").weights}
    trainable = {id(v) for v in model.trainable_variables}
    assert own <= trainable and not other & trainable


def test_rows_are_answered_by_their_own_heads(trained):
    model, a, b = trained
    model.adapters.activate(kzoo.PerRow("a", "b"))
    names = ["a", "b"] * 5
    found = model.predict(A[0], adapter_names=names, verbose=0)
    assert found.shape == (10, 3)
    for row, name in enumerate(names):
        expected = a[row] if name == "a" else b[row]
        np.testing.assert_allclose(found[row, : len(expected)], expected, atol=1e-4)
        if name == "a":  # a class that its head does not have
            assert found[row, 2] < -1e8
    model.adapters.activate(kzoo.Parallel("a", "b"))
    both = model.predict(A[0], verbose=0)
    assert both.shape == (10, 2, 3)
    np.testing.assert_allclose(both[:, 0, :2], a, atol=1e-4)
    np.testing.assert_allclose(both[:, 1], b, atol=1e-4)
    model.adapters.activate("a")


def test_files_hold_the_head_of_their_adapter(trained, tmp_path, tiny_classifier):
    model, a, b = trained
    for name, active in (("a", "b"), ("b", "a")):
        model.adapters.activate(active)  # whatever acts while it is saved
        model.adapters.save(name, tmp_path / name)
    fresh = tiny_classifier(head={"dropout": 0.0})
    fresh.adapters.load(tmp_path / "b")
    assert fresh.predict_labels(B[0], verbose=0) == B[1]
    fresh.adapters.load(tmp_path / "a")
    assert fresh.predict_labels(A[0], verbose=0) == A[1]
    fresh.adapters.activate("b")
    np.testing.assert_allclose(fresh.predict(B[0], verbose=0), b, atol=1e-5)
    fresh.save(tmp_path / "m.keras")
    again = kzoo.load(tmp_path / "m.keras")
    np.testing.assert_allclose(again.predict(B[0], verbose=0), b, atol=1e-5)
    again.adapters.activate("a")
    np.testing.assert_allclose(again.predict(A[0], verbose=0), a, atol=1e-5)
    assert again.labels == ["neg", "pos"]


def test_classes_that_the_user_gave_hold_for_every_adapter(trained, tmp_path, tiny_classifier):
    model, _, _ = trained
    model.adapters.save("b", tmp_path / "b")
    two = tiny_classifier(num_classes=2)
    with pytest.raises(AdapterError, match="has 3 classes, this model 2"):
        two.adapters.load(tmp_path / "b")
    assert len(two.adapters) == 0
    two.adapters.load(tmp_path / "b", with_head=False)


def test_deleting_an_adapter_takes_its_head(tiny_classifier):
    model = tiny_classifier(num_classes=2)
    for name in ("a", "b", "c"):
        model.adapters.add(name, "lora[r=2]")
    weights = len(model.weights)
    model.adapters.delete("b")
    # Two matrices at each of two places in two blocks, kernel and bias of the head.
    assert weights - len(model.weights) == 2 * 2 * 2 + 2
    assert set(model.head.answers) == {"", "c"}


def test_a_part_of_a_composition_has_the_head_that_it_was_trained_with(tiny_classifier, tmp_path):
    model = tiny_classifier(head={"dropout": 0.0})
    for name in ("a", "b"):
        model.adapters.add(name, "lora[r=2]")
    model.adapters.activate(kzoo.Stack("b", "a"))
    model.fit(*A, epochs=1, verbose=0)
    expected = model.predict(A[0], verbose=0)
    for name in ("a", "b"):
        model.adapters.save(name, tmp_path / name)
    fresh = tiny_classifier(head={"dropout": 0.0})
    for name in ("b", "a"):
        fresh.adapters.load(tmp_path / name)
    fresh.adapters.activate(kzoo.Stack("b", "a"))
    np.testing.assert_allclose(fresh.predict(A[0], verbose=0), expected, atol=1e-5)


def test_trainable_false_and_true_again(tiny_classifier):
    model = tiny_classifier(num_classes=2)
    for name in ("a", "b"):
        model.adapters.add(name, "lora[r=2]")
    before = {id(v) for v in model.trainable_variables}
    model.trainable = False
    assert not model.trainable_variables
    model.trainable = True
    assert {id(v) for v in model.trainable_variables} == before


def test_several_heads_in_one_file(tmp_path):
    """Multi-task: both heads belong to the adapter, and go into its file."""
    import keras
    from tiny import make_tiny_trunk

    def make():
        trunk = kzoo.Trunk(make_tiny_trunk(), max_tokens=32)
        trunk.adapters.add("a", "lora[r=2]")
        text = kzoo.TextInput(trunk)
        states = trunk(text)
        heads = {
            "topic": kzoo.heads.Classify(name="topic", dropout=0.0),
            "size": kzoo.heads.Regress(name="size", dropout=0.0, loss_weight=0.1),
        }
        return kzoo.Model(text, {name: head(states) for name, head in heads.items()})

    model = make()
    labels = {"topic": A[1], "size": [float(len(text)) for text in A[0]]}
    history = model.fit(A[0], labels, epochs=3, verbose=0).history
    assert {"topic_loss", "size_loss", "topic_accuracy", "size_rmse"} <= set(history)
    model.adapters.save("a", tmp_path / "a")
    other = make()
    other.adapters.delete("a")
    other.adapters.load(tmp_path / "a")
    expected, found = (m.predict(A[0], verbose=0) for m in (model, other))
    for name in labels:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5)
    decoded = other.decode(found)
    assert set(decoded["topic"]) <= {"pos", "neg"} and decoded["size"].shape == (10,)
    single = kzoo.TextClassifier.on(kzoo.Trunk(make_tiny_trunk(), max_tokens=32))
    with pytest.raises(AdapterError, match="has the heads"):
        single.adapters.load(tmp_path / "a")
    keras.backend.clear_session()
