"""Regress: units, losses and metrics against numpy and scipy."""

import keras
import numpy as np
import pytest
from scipy import stats
from tiny import NEGATIVE, POSITIVE, make_model, make_tiny_trunk

import kzoo
from kzoo.errors import InputError
from kzoo.heads.regress import Pearson, ScaledSquaredError

TEXTS = (POSITIVE + NEGATIVE) * 2
VALUES = [200.0 + 50.0 * len(text) for text in TEXTS]


def make(**options):
    head = {"kind": "regress", "dropout": 0.0, **options}
    model = make_model(kzoo.Model, make_tiny_trunk(), max_tokens=32, head=head)
    model.adapters.add("a", "lora[r=4]")
    return model


@pytest.fixture(scope="module")
def fitted():
    model = make()
    model.compile(learning_rate=0.02)
    history = model.fit(TEXTS, VALUES, epochs=25, verbose=0).history
    return model, history


def test_outputs_are_in_the_units_of_the_targets(fitted):
    model, history = fitted
    found = model.predict(TEXTS, verbose=0)
    assert found.shape == (20, 1) and found.dtype == np.float32
    assert abs(found.mean() - np.mean(VALUES)) < 0.2 * np.mean(VALUES)
    # The loss is the error in units of the deviation, which starts near 1.
    assert 0.5 < history["loss"][0] < 2 and history["loss"][-1] < 0.3
    facts = model.head.facts
    assert facts["mean"] == [pytest.approx(np.mean(VALUES))]
    assert facts["scale"] == [pytest.approx(np.std(VALUES))]
    np.testing.assert_array_equal(model.decode(found), found[:, 0])


def test_scores_are_numpys_and_scipys(fitted):
    model, _ = fitted
    scores = model.evaluate(TEXTS, VALUES, verbose=0, return_dict=True)
    found = model.predict(TEXTS, verbose=0)[:, 0]
    error = found - np.asarray(VALUES)
    assert scores["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-4)
    assert scores["loss"] == pytest.approx(np.mean(error**2) / np.var(VALUES), rel=1e-4)
    assert scores["pearson"] == pytest.approx(stats.pearsonr(found, VALUES)[0], abs=1e-4)
    assert scores["spearman"] == pytest.approx(stats.spearmanr(found, VALUES)[0], abs=1e-6)
    listed = model.evaluate(TEXTS, VALUES, verbose=0)
    assert listed[-1] == pytest.approx(scores["spearman"])


def test_the_scale_is_saved(fitted, tmp_path):
    model, _ = fitted
    expected = model.predict(TEXTS, verbose=0)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again.predict(TEXTS, verbose=0), expected, rtol=1e-5)
    model.adapters.save("a", tmp_path / "a")
    other = make()
    other.adapters.delete("a")
    other.adapters.load(tmp_path / "a")
    np.testing.assert_allclose(other.predict(TEXTS, verbose=0), expected, rtol=1e-4)


def test_validation_has_the_rank_correlation_too():
    history = (
        make().fit(TEXTS, VALUES, epochs=1, validation_data=(TEXTS, VALUES), verbose=0).history
    )
    assert {"val_rmse", "val_pearson", "val_spearman"} <= set(history)


def test_pearson_over_batches_far_from_zero():
    rng = np.random.default_rng(0)
    x = 1e4 + rng.normal(size=64).astype("float32")
    y = (x - 1e4 + rng.normal(size=64)).astype("float32")
    metric = Pearson()
    for part in np.split(np.arange(64), 4):
        metric.update_state(x[part], y[part])
    assert float(metric.result()) == pytest.approx(stats.pearsonr(x, y)[0], abs=1e-3)
    weights = rng.uniform(0, 1, 64)
    metric.reset_state()
    metric.update_state(x, y, weights)
    cov = np.cov(np.stack([x, y]).astype("float64"), aweights=weights, bias=True)
    expected = cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1])
    assert float(metric.result()) == pytest.approx(expected, abs=1e-3)
    metric.reset_state()
    metric.update_state(np.ones(4), np.arange(4.0))
    assert float(metric.result()) == 0.0


def test_the_loss_is_its_formula():
    loss = ScaledSquaredError([2.0, 10.0])
    y, f = np.array([[1.0, 20.0], [3.0, 0.0]]), np.array([[3.0, 20.0], [3.0, 30.0]])
    assert float(loss(y, f)) == pytest.approx(np.mean([(1 + 0) / 2, (0 + 9) / 2]))
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert float(again(y, f)) == float(loss(y, f))


def test_several_targets():
    model = make(num_targets=2)
    pairs = np.stack([VALUES, -np.asarray(VALUES)], axis=1)
    model.fit(TEXTS, pairs, epochs=1, verbose=0)
    assert model.predict(TEXTS, verbose=0).shape == (20, 2)
    assert model.head.facts["mean"][1] == pytest.approx(-np.mean(VALUES))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1.0] * 19 + ["many"], "row 19 must be a number"),
        ([1.0] * 19 + [float("nan")], "row 19 is not finite"),
        ([[1.0, 2.0]] * 20, "must have 1 numbers a row"),
    ],
)
def test_bad_targets_are_named(values, said):
    with pytest.raises(InputError, match=said):
        make().fit(TEXTS, values, epochs=1, verbose=0)
