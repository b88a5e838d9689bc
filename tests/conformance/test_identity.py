"""Adapters: exact identities until trained, off bit for bit, and the trunk never moves."""

import numpy as np
import pytest

METHODS = [
    "pfeiffer",
    "houlsby",
    "lora",
    "bottleneck[attention=true,non_linearity=gelu,reduction_factor=4]",
    "lora[r=2,targets=[query,key,value,attention_output,ffn_intermediate,ffn_output]]",
    "pfeiffer[leave_out=[0]]",
]
TEXTS = ["the good cat", "a bad film and an awful movie", "", "x y z"]


def outputs(model):
    return np.asarray(model(model.text.encode(TEXTS)))


def disturb(variables):
    rng = np.random.default_rng(0)
    for variable in variables:
        variable.assign(rng.normal(0, 0.3, variable.shape))


@pytest.mark.parametrize("method", METHODS)
def test_identity_switching_and_deletion(method, tiny_classifier):
    model = tiny_classifier(num_classes=3)
    plain = outputs(model)
    weights_before = len(model.weights)
    model.adapters.add("a", method)
    np.testing.assert_array_equal(outputs(model), plain)
    disturb(model.adapters.variables("a").values())
    adapted = outputs(model)
    assert np.abs(adapted - plain).max() > 1e-3
    model.adapters.deactivate()
    np.testing.assert_array_equal(outputs(model), plain)
    model.adapters.activate("a")
    np.testing.assert_array_equal(outputs(model), adapted)
    model.adapters.delete("a")
    np.testing.assert_array_equal(outputs(model), plain)
    assert len(model.weights) == weights_before


@pytest.mark.parametrize(
    ("method", "jit_compile"),
    [
        *[(method, False) for method in METHODS],
        ("lora", True),
        *[pytest.param(m, True, marks=pytest.mark.sweep) for m in METHODS if m != "lora"],
    ],
)
def test_only_adapter_and_head_move(method, jit_compile, tiny_classifier, reviews):
    model = tiny_classifier(method)
    trunk = [np.asarray(v) for v in model.trunk.trunk_variables]
    before = {k: np.asarray(v) for k, v in model.adapters.variables("default").items()}
    model.compile(jit_compile=jit_compile)
    model.fit(*reviews, epochs=2, verbose=0)
    for value, variable in zip(trunk, model.trunk.trunk_variables, strict=True):
        np.testing.assert_array_equal(value, np.asarray(variable))
    after = model.adapters.variables("default")
    moved = {key for key in before if np.abs(before[key] - np.asarray(after[key])).max() > 0}
    # Behind the last key and query, only what reaches the pooled output can get a gradient.
    assert moved == set(before)
    trained = {id(v) for v in model.trainable_variables}
    expected = {id(v) for v in [*after.values(), *model.head.weights]}
    assert trained == expected


def test_switching_leaves_no_stale_function(tiny_classifier):
    model = tiny_classifier("lora", num_classes=2)
    disturb(model.adapters.variables("default").values())
    adapted = model.predict(TEXTS, verbose=0)
    model.adapters.deactivate()
    plain = model.predict(TEXTS, verbose=0)
    assert np.abs(adapted - plain).max() > 1e-3
    np.testing.assert_allclose(plain, outputs(model), atol=1e-6)


def test_two_adapters_are_nested_functions(tiny_classifier):
    """Active LoRAs add up; the order of a LoRA and a bottleneck matters as documented."""
    model = tiny_classifier(num_classes=2)
    for name in ("a", "b"):
        model.adapters.add(name, "lora[targets=[ffn_output]]", activate=False)
        disturb(model.adapters.variables(name).values())
    block = model.trunk.family.block_list(model.backbone)[0]
    site = block._feedforward_output_dense
    x = np.random.default_rng(1).normal(size=(2, 3, 32)).astype("float32")
    model.adapters.deactivate()
    base = np.asarray(site(x))
    parts = []
    for name in ("a", "b"):
        model.adapters.activate(name)
        parts.append(np.asarray(site(x)) - base)
    model.adapters.activate("a", "b")
    np.testing.assert_allclose(np.asarray(site(x)), base + parts[0] + parts[1], atol=1e-4)
