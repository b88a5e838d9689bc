"""Adapters of other methods as the LoRA that is nearest to them."""

import keras
import numpy as np
import pytest
from test_combining import RNG, fill, linear_model

import kzoo
from kzoo.adapters import add_as_lora
from kzoo.errors import AdapterError

X = RNG.normal(size=(4, 6)).astype("float32")


@pytest.fixture(scope="module")
def model():
    model = linear_model()
    kzoo.adapt(model)
    return model


@pytest.mark.parametrize(
    "spec",
    [
        "loha[r=2,targets=lin]",
        "hira[r=2,targets=lin]",
        "oft[block_size=3,targets=lin]",
        "dora[r=2,targets=lin]",
        "shira[r=1,targets=lin]",
    ],
)
def test_nearest_of_each_rank(spec, model):
    """By the rank, the singular value decomposition of the change; whole, the same outputs."""
    adapters = model.adapters
    adapters.deactivate()
    plain = np.asarray(model(X))
    kernel = np.asarray(model.get_layer("lin").kernel)
    adapters.add("a", spec)
    fill(adapters, "a")
    adapted = np.asarray(model(X))
    add_as_lora(adapters, "whole", "a", rank=1.0)
    np.testing.assert_allclose(np.asarray(model(X)), adapted, atol=1e-4)
    add_as_lora(adapters, "two", "a", rank=2)
    adapters.activate("a")
    adapters.merge("a")
    change = np.asarray(model.get_layer("lin").kernel, "float64") - kernel
    adapters.unmerge("a")
    left, values, right = np.linalg.svd(change, full_matrices=False)
    adapters.activate("two")
    nearest = plain + X @ (left[:, :2] * values[:2]) @ right[:2]
    np.testing.assert_allclose(np.asarray(model(X)), nearest, atol=1e-4)
    shares = np.cumsum(values**2) / np.sum(values**2)
    add_as_lora(adapters, "most", "a", rank=0.8)
    assert adapters.configs["most"].r == int(np.argmax(shares >= 0.8)) + 1
    for name in ("a", "whole", "two", "most"):
        adapters.delete(name)


def test_ranks_by_place():
    inputs = keras.Input((6,))
    outputs = keras.layers.Dense(5, name="two")(keras.layers.Dense(4, name="one")(inputs))
    model = keras.Model(inputs, outputs)
    adapters = kzoo.adapt(model)
    adapters.add("a", "lora[r=4,targets=[one,two],rank_pattern={one: 1}]")
    fill(adapters, "a")
    adapted = np.asarray(model(X))
    add_as_lora(adapters, "b", "a")
    config = adapters.configs["b"]
    assert (config.r, config.rank_pattern) == (4, {"one": 1})
    np.testing.assert_allclose(np.asarray(model(X)), adapted, rtol=2e-2, atol=2e-1)
    add_as_lora(adapters, "c", "a", rank=7)  # cut to what the matrices have
    assert (adapters.configs["c"].r, adapters.configs["c"].rank_pattern) == (4, {})
    np.testing.assert_allclose(np.asarray(model(X)), adapted, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("spec", "rank", "message"),
    [
        ("loha[r=2,targets=lin]", 0, "`rank` must be a whole number from 1"),
        ("loha[r=2,targets=lin]", 1.5, "`rank` must be a whole number from 1"),
        ("loha[r=2,targets=lin]", True, "`rank` must be a whole number from 1"),
        ("beft[targets=lin]", 2, "changes `bias` at lin"),
        ("lily[r=2,targets=lin]", 2, "`lily` at lin cannot be merged"),
        ("lora[r=2,targets=lin]|hira[r=2,targets=lin]", 2, "several parts at lin"),
    ],
)
def test_refused(spec, rank, message, model):
    adapters = model.adapters
    adapters.add("a", spec)
    fill(adapters, "a")
    try:
        with pytest.raises(AdapterError, match=message):
            add_as_lora(adapters, "b", "a", rank)
        assert "b" not in adapters
    finally:
        adapters.delete("a")


def test_an_untrained_adapter_has_nothing_to_convert(model):
    model.adapters.add("a", "hira[r=2,targets=lin]")
    with pytest.raises(AdapterError, match="`a` changes nothing at lin"):
        add_as_lora(model.adapters, "b", "a")
    model.adapters.delete("a")


def test_needs_the_models_own_weights(model):
    model.adapters.add("a", "hira[r=2,targets=lin]")
    model.adapters.merge("a")
    with pytest.raises(AdapterError, match=r"Unmerge \['a'\] first"):
        add_as_lora(model.adapters, "b", "a")
    model.adapters.unmerge("a")
    model.adapters.delete("a")
