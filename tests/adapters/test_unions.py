"""MAM and UniPELT: their counts, and the gates against numpy inside a block."""

import numpy as np
import pytest
from families import make_tiny_backbone, tiny_inputs
from published import BERT_BASE

from kzoo.adapters import parse_adapter
from kzoo.adapters.acting.injection import Sites
from kzoo.backbones.dims import Dims
from kzoo.backbones.families import FAMILIES
from kzoo.errors import AdapterError

RNG = np.random.default_rng(0)
FLAT = "gated_prefix[num_virtual_tokens=10]|seq_bn[use_gating=true]|gated_lora"


@pytest.fixture(scope="module")
def bert():
    return make_tiny_backbone("bert")


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def disturb(sites, name="a"):
    for variable in sites.variables(name).values():
        variable.assign(0.5 * normal(*variable.shape))


def gate(u, layer):
    each = 1 / (1 + np.exp(-(u @ np.asarray(layer.gate_kernel) + np.asarray(layer.gate_bias))))
    return each.mean(axis=1)  # (rows, gates)


@pytest.mark.parametrize(
    ("spec", "count"), [("mam", 22_493_984), ("unipelt", 11_083_376), (FLAT, 1_410_672)]
)
def test_published_counts(spec, count):
    assert parse_adapter(spec).count_parameters(BERT_BASE) == count


def test_gated_lora(bert):
    """W x + gate(x) x A B: the gate takes the place of alpha / r."""
    sites = Sites(FAMILIES.get("bert").places(bert))
    layer = sites.add("a", parse_adapter("gated_lora[r=2,alpha=100]"))[0]
    site, x = layer.place.layer, normal(3, 4, 16)
    plain = np.asarray(site(x))
    sites.activate("a")
    np.testing.assert_array_equal(np.asarray(site(x)), plain)
    disturb(sites)
    low_rank = x @ np.asarray(layer.lora_a) @ np.asarray(layer.lora_b)
    expected = plain + (gate(x, layer)[:, :, None] * low_rank).reshape(plain.shape)
    np.testing.assert_allclose(np.asarray(site(x)), expected, atol=1e-5)
    with pytest.raises(AdapterError, match="cannot be merged"):
        layer.merged()
    sites.remove("a")


@pytest.mark.parametrize("shared", ["true", "false"])
def test_gated_prefix_is_a_prefix_of_each_row(shared, bert):
    """Row by row, a plain prefix whose keys and values are the gated ones."""
    sites = Sites(FAMILIES.get("bert").places(bert))
    sites.add("a", parse_adapter(f"gated_prefix[num_virtual_tokens=3,shared_gating={shared}]"))
    sites.add("b", parse_adapter("prefix[num_virtual_tokens=3]"))
    disturb(sites)
    gated = {k: v for k, v in sites.layers("a") if v.weights}
    block, x = bert.transformer_layers[0], normal(2, 4, 16)
    plain = np.asarray(block(x))
    sites.activate("a")
    result = np.asarray(block(x))
    assert np.abs(result - plain).max() > 1e-2
    layer = gated["blocks.0.attention"]
    gates = gate(x, layer)
    assert gates.shape == (2, 1 if shared == "true" else 2)
    sites.activate("b")
    own = dict(sites.layers("b"))["blocks.0.attention"]
    for row in range(2):
        own.prefix_key.assign(np.asarray(layer.prefix_key) * gates[row, 0])
        own.prefix_value.assign(np.asarray(layer.prefix_value) * gates[row, -1])
        expected = np.asarray(block(x[row : row + 1]))[0]
        np.testing.assert_allclose(result[row], expected, atol=1e-5)
    sites.remove("a")
    sites.remove("b")


@pytest.mark.parametrize(
    ("spec", "family"),
    [
        ("mam", "gpt2"),
        ("unipelt", "deberta-v2"),
        ("unipelt", "llama"),
        ("unipelt", "bart"),
        ("unipelt", "t5"),
    ],
)
def test_runs_in_other_families(spec, family):
    """All parts act at once, and each of them matters."""
    backbone, inputs = make_tiny_backbone(family), tiny_inputs(family)
    name = {"bert": "sequence_output", "bart": "decoder_sequence_output"}.get(family)
    name = "decoder_sequence_output" if family == "t5" else name

    def run():
        y = backbone(inputs)
        return np.asarray(y[name] if name else y)

    sites = Sites(FAMILIES.get(family).places(backbone))
    config = parse_adapter(spec)
    sites.add("a", config)
    built = sum(int(np.prod(v.shape)) for v in sites.trainable("a"))
    assert built == config.count_parameters(Dims.of(backbone))
    sites.activate("a")
    disturb(sites)
    before = run()
    for part in range(len(config.parts)):
        own = [v for key, v in sites.variables("a").items() if key.startswith(f"{part}.")]
        values = [np.asarray(variable) for variable in own]
        for variable in own:
            variable.assign(0.5 * normal(*variable.shape))
        assert np.abs(run() - before).max() > 1e-3, part
        for variable, value in zip(own, values, strict=True):
            variable.assign(value)
    np.testing.assert_array_equal(run(), before)
    sites.remove("a")


def test_refused():
    with pytest.raises(AdapterError, match="do not go with a gate"):
        parse_adapter("gated_lora[use_dora=true]")
