"""Ordinal: CORN's loss by its conditional subsets, scores of scikit-learn, ratings as they are."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import accuracy_score, cohen_kappa_score, mean_absolute_error
from tiny import NEGATIVE, POSITIVE, make_model, make_tiny_trunk

import kzoo
from kzoo.datasets import Split
from kzoo.errors import InputError
from kzoo.heads.ordinal import CORNLoss

TEXTS = (POSITIVE + NEGATIVE) * 2
RATINGS = [1 + 2 * ("good" in text) + ("nice" in text or "great" in text) for text in TEXTS]


def make(**options):
    head = {"kind": "ordinal", "dropout": 0.0, **options}
    training = {"learning_rate": 0.03}
    model = make_model(kzoo.Model, make_tiny_trunk(), max_tokens=32, head=head, training=training)
    model.adapters.add("a", "lora[r=4]")
    return model


@pytest.fixture(scope="module")
def fitted():
    model = make()
    model.fit(TEXTS, RATINGS, epochs=40, batch_size=5, verbose=0)
    return model


def corn(z, y):
    """The sums over conditional training subsets as the paper has them, task by task."""
    total, examples = 0.0, 0
    for task in range(z.shape[1]):
        subset = y >= task  # rank above task - 1
        p = 1 / (1 + np.exp(-z[subset, task]))
        above = y[subset] > task
        total += np.sum(np.log(p) * above + np.log(1 - p) * ~above)
        examples += subset.sum()
    return -total / examples


@pytest.mark.parametrize("jit", [False, True])
def test_the_loss_is_the_papers(jit):
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(40, 5)).astype("float32"), rng.integers(0, 6, 40)
    loss = tf.function(CORNLoss(), jit_compile=jit)
    assert float(loss(y, z)) == pytest.approx(corn(z.astype("float64"), y), rel=1e-5)
    assert float(loss(y[:, None], z)) == pytest.approx(corn(z.astype("float64"), y), rel=1e-5)
    # Weights as in Keras: repeating a row and weighing it are one thing, but for the divisor.
    w = rng.integers(0, 3, 40).astype("float32")
    again = np.repeat(np.arange(40), w.astype(int))
    tasks = np.minimum(y + 1, 5)
    weighted = float(CORNLoss()(y, z, w)) * tasks.sum() / tasks[again].sum()
    assert weighted == pytest.approx(corn(z[again].astype("float64"), y[again]), rel=1e-5)
    same = keras.losses.deserialize(keras.losses.serialize(CORNLoss()))
    assert float(same(y, z)) == pytest.approx(float(loss(y, z)))


def test_probabilities_and_ratings_fit_together():
    head = kzoo.heads.Ordinal(labels=[1, 2, 4, 8])
    head.build((None, 3))
    z = np.random.default_rng(1).normal(size=(200, 3)).astype("float32") * 2
    found = head.probabilities(z)
    p = 1 / (1 + np.exp(-z.astype("float64")))
    above = np.stack([p[:, 0], p[:, 0] * p[:, 1], p.prod(-1)], axis=1)
    expected = -np.diff(np.concatenate([np.ones((200, 1)), above, np.zeros((200, 1))], axis=1))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (found >= 0).all()
    ratings = [[1, 2, 4, 8][rank] for rank in (above > 0.5).sum(-1)]
    assert head.decode(z) == ratings and set(ratings) == {1, 2, 4, 8}


def test_learns_ratings_and_scores_them_as_sklearn_does(fitted):
    assert fitted.head.labels == [1, 2, 3, 4]
    assert fitted.predict(TEXTS, verbose=0).shape == (20, 3)
    assert fitted.decode(fitted.predict(TEXTS, verbose=0)) == RATINGS
    rng = np.random.default_rng(3)
    true = np.clip(np.asarray(RATINGS) + rng.integers(-1, 2, 20), 1, 4)
    w = rng.uniform(0.2, 2, 20)
    options = {"sample_weight": w, "batch_size": 3, "verbose": 0, "return_dict": True}
    found = fitted.evaluate(TEXTS, true, **options)
    assert found["accuracy"] == pytest.approx(accuracy_score(true, RATINGS, sample_weight=w))
    assert found["mae"] == pytest.approx(mean_absolute_error(true, RATINGS, sample_weight=w))
    kappa = cohen_kappa_score(
        true, RATINGS, labels=[1, 2, 3, 4], weights="quadratic", sample_weight=w
    )
    assert found["kappa"] == pytest.approx(kappa, abs=1e-6)


def test_files(fitted, tmp_path):
    expected = fitted.predict(TEXTS, verbose=0)
    fitted.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again.predict(TEXTS, verbose=0), expected, atol=1e-5)
    assert again.decode(expected) == RATINGS
    fitted.adapters.save("a", tmp_path / "a")
    other = make()
    other.adapters.delete("a")
    other.adapters.load(tmp_path / "a")
    assert other.decode(other.predict(TEXTS, verbose=0)) == RATINGS
    options = {"verbose": 0, "return_dict": True}
    found = [model.evaluate(TEXTS, RATINGS, **options) for model in (fitted, other)]
    assert found[0] == pytest.approx(found[1])


@pytest.mark.parametrize(
    ("options", "column", "labels", "ranks"),
    [
        ({}, [0.5, 1.0, 5.0, 0.5], [0.5, 1, 5], [0, 1, 2, 0]),
        ({}, ["10", "9", "2", "2"], [2, 9, 10], [2, 1, 0, 0]),
        ({}, np.asarray([3, 1, 3, 2], "int64"), [1, 2, 3], [2, 0, 2, 1]),
        ({"labels": [1, 2, 3, 4, 5]}, [5, 1, 2, 2], [1, 2, 3, 4, 5], [4, 0, 1, 1]),
        ({"labels": ["1", "2", "3"]}, [3, 1, 2, 2], [1, 2, 3], [2, 0, 1, 1]),
        ({"labels": ["bad", "ok", "good"]}, ["ok", "good", "bad", "ok"], None, [1, 2, 0, 1]),
        ({"num_classes": 3}, [3, 1, 2, 3], [1, 2, 3], [2, 0, 1, 2]),
    ],
)
def test_forms_of_ratings(options, column, labels, ranks):
    head = kzoo.heads.Ordinal(**options)
    head.build((None, 6))
    head.learn(np.asarray(column))
    labels = labels or options["labels"]
    assert head.labels == labels
    assert head.targets(np.asarray(column)).tolist() == ranks
    outputs = np.asarray(head(np.random.default_rng(0).normal(size=(50, 6)) * 99))
    assert outputs.shape == (50, len(labels) - 1)
    assert set(head.decode(outputs)) <= set(labels)


def test_a_split_names_its_ratings():
    split = Split(TEXTS[:4], labels=[0, 1, 2, 2], label_names=["10", "5", "1"])
    model = make()
    model.fit(split, epochs=1, verbose=0)
    assert model.head.labels == [1, 5, 10]
    _, ranks = next(iter(model.prepare(split)))
    assert ranks.numpy().tolist() == [2, 1, 0, 0]


def test_error_is_in_ratings_and_of_names_in_ranks():
    for labels, expected in (([1, 2, 10], 9 / 2), (["a", "b", "c"], 2 / 2)):
        head = kzoo.heads.Ordinal(labels=labels)
        head.build((None, 3))
        metric = head.default_weighted_metrics()[1]
        metric.update_state([0, 1], np.asarray([[5.0, 5.0], [5.0, -5.0]], "float32"))
        assert float(metric.result()) == pytest.approx(expected)


def test_kappa_where_it_is_not_defined():
    kappa = kzoo.heads.Ordinal(labels=[1, 2, 3])
    kappa.build((None, 3))
    metric = kappa.default_weighted_metrics()[2]
    low = np.full((4, 2), -9.0, "float32")
    metric.update_state([0, 0, 0, 0], low)
    assert np.isnan(float(metric.result()))
    metric.update_state([1, 2, 0, 0], low)
    assert float(metric.result()) == 0.0  # answers that never change are chance
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    again.update_state([0, 2], np.asarray([[-9, 0], [9, 9]], "float32"))
    assert float(again.result()) == 1.0


@pytest.mark.parametrize(
    ("options", "column", "said"),
    [
        ({}, ["bad", "good", "ok", "ok"], r"Pass `labels=\[lowest"),
        ({}, [2, 2, 2, 2], "one rating only: 2 in all 4 rows"),
        ({}, [1, 2, np.nan, 2], "row 2 is nan, and no rating"),
        ({"labels": [1, 2, 3]}, [1, 2, 4, 2], "row 2 is 4.0, a rating never seen"),
        ({}, [[1, 2], [2, 1], [1, 1], [2, 2]], "one rating a row"),
    ],
)
def test_bad_ratings_are_named(options, column, said):
    with pytest.raises(InputError, match=said):
        make(**options).fit(TEXTS[:4], column, epochs=1, verbose=0)


def test_wrong_options():
    with pytest.raises(InputError, match="`labels` must rise"):
        kzoo.heads.Ordinal(labels=[3, 2, 1])
    with pytest.raises(InputError, match="`labels` must be distinct"):
        kzoo.heads.Ordinal(labels=[1, 1, 2])
    with pytest.raises(InputError, match="`num_classes` must be at least 2"):
        make(num_classes=1)
