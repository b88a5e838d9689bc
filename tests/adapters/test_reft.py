"""ReFT against numpy at the right positions, its rotation, and the states it leaves alone."""

import keras
import numpy as np
import pytest
from families import make_tiny_backbone, tiny_inputs

from kzoo.adapters import parse_adapter
from kzoo.adapters.acting.injection import Sites
from kzoo.adapters.layers.reft import orthonormal
from kzoo.backbones.families import FAMILIES
from kzoo.errors import AdapterError

RNG = np.random.default_rng(0)
METHODS = ["loreft", "noreft", "direft"]


@pytest.fixture(scope="module")
def bert():
    return make_tiny_backbone("bert")


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def disturb(sites, name="a"):
    for variable in sites.variables(name).values():
        variable.assign(normal(*variable.shape))


def edited(h, layer, unit, method, function=lambda x: x):
    """h + R^T (f(W h + b) - R h), from the paper."""
    free = np.asarray(getattr(layer, f"{unit}_projection"))
    r = free.T
    if method == "loreft":
        q, upper = np.linalg.qr(free)
        r = (q * np.sign(np.diag(upper))).T
    w = np.asarray(getattr(layer, f"{unit}_source_kernel")).T
    b = np.asarray(getattr(layer, f"{unit}_source_bias"))
    move = function(h @ w.T + b)
    if method != "direft":
        move = move - h @ r.T
    return h + move @ r


# Five tokens; real ones by row. First two and last one are edited, the last one wins.
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 0, 0, 0, 0]])
UNITS = ["ppnns", "ppsnn", "nnpps", "snnnn"]


@pytest.mark.parametrize("options", ["", ",non_linearity=tanh", ",tied=true"])
@pytest.mark.parametrize("method", METHODS)
def test_formula_and_positions(method, options, bert):
    sites = Sites(FAMILIES.get("bert").places(bert))
    layer, _ = sites.add(
        "a", parse_adapter(f"{method}[r=3,prefix_positions=2,suffix_positions=1{options}]")
    )
    disturb(sites)
    block, x = bert.transformer_layers[0], normal(4, 5, 16)
    plain = np.asarray(block(x, padding_mask=MASK))
    sites.activate("a")
    result = np.asarray(block(x, padding_mask=MASK))
    function = np.tanh if "tanh" in options else lambda x: x
    for row, units in enumerate(UNITS):
        for token, unit in enumerate(units):
            expected = plain[row, token]
            if unit != "n":
                name = {"p": "prefix", "s": "suffix"}[unit]
                name = "tied" if "tied" in options else name
                expected = edited(expected, layer, name, method, function)
                assert np.abs(expected - plain[row, token]).max() > 1e-2
            np.testing.assert_allclose(result[row, token], expected, atol=5e-5, rtol=1e-4)
    sites.remove("a")


@pytest.mark.parametrize("method", METHODS)
def test_untrained_is_exact_identity(method, bert):
    inputs = tiny_inputs("bert")
    plain = np.asarray(bert(inputs)["sequence_output"])
    sites = Sites(FAMILIES.get("bert").places(bert))
    sites.add("a", parse_adapter(f"{method}[r=4,suffix_positions=2]"))
    sites.activate("a")
    np.testing.assert_array_equal(np.asarray(bert(inputs)["sequence_output"]), plain)
    sites.remove("a")


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5", "vit"])
def test_padding_of_other_families(family):
    """Blocks that return tuples, and get other masks or none."""
    backbone, inputs = make_tiny_backbone(family), tiny_inputs(family)
    output = {"t5": "encoder_sequence_output"}.get(family)

    def run():
        y = backbone(inputs)
        return np.asarray(y[output] if output else y)

    sites = Sites(FAMILIES.get(family).places(backbone))
    leave_out = "[2, 3]" if family == "t5" else "[]"
    sites.add("a", parse_adapter(f"loreft[prefix_positions=1,leave_out={leave_out}]"))
    plain = run()
    disturb(sites)
    last = "encoder.1.block" if family == "t5" else "blocks.1.block"
    sites.attached[last].active = "a"
    moved = np.abs(run() - plain).max(axis=-1) > 1e-4
    assert moved[:, 0].all() and not moved[:, 1:].any()
    sites.remove("a")
    if family == "vit":
        return
    sites.add("b", parse_adapter("direft[prefix_positions=0,suffix_positions=1]"))
    disturb(sites, "b")
    sites.attached[last].active = "b"
    mask = inputs["encoder_padding_mask" if family == "t5" else "padding_mask"]
    moved = np.abs(run() - plain).max(axis=-1) > 1e-4
    np.testing.assert_array_equal(moved.argmax(axis=1), mask.sum(axis=1) - 1)
    assert (moved.sum(axis=1) == 1).all()


def test_generation_counts_from_the_start():
    """Prefilling a cache and decoding step by step edit the same positions as one call."""
    import keras_hub

    backbone = make_tiny_backbone("gpt2")
    lm = keras_hub.models.GPT2CausalLM(backbone, preprocessor=None)
    sites = Sites(FAMILIES.get("gpt2").places(backbone))
    sites.add("a", parse_adapter("loreft[r=2,prefix_positions=3]"))
    disturb(sites)
    sites.activate("a")
    ids = RNG.integers(0, 60, (2, 5))
    whole = np.asarray(lm({"token_ids": ids, "padding_mask": np.ones_like(ids)}))
    cache = keras.ops.zeros((2, 2, 2, 5, 2, 8))
    for start, stop in ((0, 2), (2, 3), (3, 4), (4, 5)):
        logits, _, cache = lm.call_with_cache(ids[:, start:stop], cache, start)
        np.testing.assert_allclose(np.asarray(logits), whole[:, start:stop], atol=1e-4)
    sites.remove("a")
    sites.add("b", parse_adapter("loreft[suffix_positions=1]"))
    sites.activate("b")
    with pytest.raises(AdapterError, match="while generating"):
        lm.call_with_cache(ids[:, :2], cache, 0)


def test_rotation_stays_orthonormal_and_keeps_its_own():
    free = normal(16, 4)
    q = np.asarray(orthonormal(free))
    np.testing.assert_allclose(q.T @ q, np.eye(4), atol=1e-6)
    assert (np.diag(q.T @ free) > 0).all()
    np.testing.assert_allclose(np.asarray(orthonormal(q)), q, atol=1e-6)


def test_gradients_reach_the_free_matrix(bert):
    import tensorflow as tf

    sites = Sites(FAMILIES.get("bert").places(bert))
    layer, _ = sites.add("a", parse_adapter("loreft[r=2]"))
    disturb(sites)
    h, goal = normal(2, 3, 16), normal(2, 3, 16)

    @tf.function(jit_compile=True)
    def gradients():
        with tf.GradientTape() as tape:
            loss = keras.ops.mean((layer.edited(h, "prefix") - goal) ** 2)
        return tape.gradient(loss, [w.value for w in layer.trainable_weights])

    assert all(np.abs(np.asarray(g)).max() > 1e-3 for g in gradients())
    # The scale of the free matrix does not matter, so that its gradient is orthogonal to it.
    free, slope = np.asarray(layer.prefix_projection), np.asarray(gradients()[0])
    np.testing.assert_allclose((free * slope).sum(axis=0), 0, atol=1e-5)
    sites.remove("a")


def test_refused(bert):
    with pytest.raises(AdapterError, match="must be above 0"):
        parse_adapter("loreft[prefix_positions=0]")
    with pytest.raises(AdapterError, match=r"`r` must be at most .* 16"):
        parse_adapter("loreft[r=17]").choose(FAMILIES.get("bert").places(bert))
