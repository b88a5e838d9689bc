"""Compacter: the product without the matrix against numpy's kron, and inside a block."""

import numpy as np
import pytest
from families import make_tiny_backbone

from kzoo.adapters import parse_adapter
from kzoo.adapters.acting.injection import Sites
from kzoo.adapters.layers.compacter import CompacterLayer, full_phm, phm
from kzoo.backbones.families import FAMILIES
from kzoo.errors import AdapterError

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def bert():
    return make_tiny_backbone("bert")


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


@pytest.mark.parametrize(("n", "rank"), [(4, 1), (2, 3), (3, 2)])
def test_product_equals_the_kronecker_matrix(n, rank):
    rule, left, right = normal(n, n, n), normal(n, 5, rank), normal(n, rank, 2)
    matrix = sum(np.kron(rule[k], left[k] @ right[k]) for k in range(n))
    x = normal(2, 3, 5 * n)
    np.testing.assert_allclose(np.asarray(phm(x, rule, left, right)), x @ matrix, atol=1e-4)
    np.testing.assert_allclose(np.asarray(full_phm(x, rule, left @ right)), x @ matrix, atol=1e-4)


@pytest.mark.parametrize(
    "options", ["", ",factorized_phm_rule=true", ",shared_phm_rule=false", ",phm_rank=null"]
)
@pytest.mark.parametrize("method", ["compacter", "compacter++"])
def test_inside_a_block(method, options, bert):
    """The same numbers as a plain bottleneck that has the Kronecker matrices."""
    places = FAMILIES.get("bert").places(bert)
    sites = Sites(places)
    config = parse_adapter(f"{method}[reduction_factor=2,phm_dim=2{options}]")
    layers = sites.add("a", config)
    assert all(isinstance(layer, CompacterLayer) for layer in layers)
    kinds = ["ffn_norm"] if method == "compacter++" else ["attention_output", "ffn_output"]
    assert [layer.place.site for layer in layers] == kinds * 2
    block, x = bert.transformer_layers[0], normal(2, 3, 16)
    plain = np.asarray(block(x))
    sites.activate("a")
    np.testing.assert_array_equal(np.asarray(block(x)), plain)

    variables = sites.variables("a")
    assert len(variables) == len({id(v) for v in sites.trainable("a")})
    for variable in variables.values():
        variable.assign(0.5 * normal(*variable.shape))
    adapted = np.asarray(block(x))
    dense = parse_adapter(
        "houlsby[reduction_factor=2,non_linearity=gelu]"
        if method == "compacter"
        else "pfeiffer[reduction_factor=2,non_linearity=gelu]"
    )
    for own, other in zip(layers, sites.add("b", dense), strict=True):
        for name in ("down", "up"):
            getattr(other, f"{name}_kernel").assign(kronecker(own, name))
            getattr(other, f"{name}_bias").assign(getattr(own, f"{name}_bias"))
    sites.activate("b")
    np.testing.assert_allclose(np.asarray(block(x)), adapted, atol=1e-5)
    assert np.abs(adapted - plain).max() > 1e-2
    sites.remove("a")
    sites.remove("b")


def kronecker(layer, name):
    rule = np.asarray(getattr(layer, f"{name}_a")())
    if hasattr(layer, f"{name}_kernel"):
        full = np.asarray(getattr(layer, f"{name}_kernel"))
    else:
        left, right = (np.asarray(getattr(layer, f"{name}_{part}")) for part in ("left", "right"))
        full = left @ right
    return sum(np.kron(a, b) for a, b in zip(rule, full, strict=True))


def test_the_rule_is_shared_and_saved_once(bert):
    sites = Sites(FAMILIES.get("bert").places(bert))
    layers = sites.add("a", parse_adapter("compacter[reduction_factor=4]"))
    keys = list(sites.variables("a"))
    assert [key for key in keys if "rule" in key] == ["shared.phm_rule"]
    assert keys[1:3] == [
        "blocks.0.attention_output.down_left",
        "blocks.0.attention_output.down_right",
    ]
    sites.variables("a")["shared.phm_rule"].assign(np.ones((4, 4, 4)))
    assert all(np.asarray(layer.down_a()).min() == 1 for layer in layers)
    sites.remove("a")


def test_a_rule_that_is_not_learned_is_saved_but_not_trained(bert):
    sites = Sites(FAMILIES.get("bert").places(bert))
    config = parse_adapter("compacter++[reduction_factor=4,learn_phm=false,phm_bias=false]")
    sites.add("a", config)
    trained = sites.trainable("a")
    assert len(sites.variables("a")) == len(trained) + 1
    sites.remove("a")


def test_widths_must_be_multiples(bert):
    with pytest.raises(AdapterError, match=r"`phm_dim` 4 must divide .* 16 and 2"):
        parse_adapter("compacter[reduction_factor=8]").choose(FAMILIES.get("bert").places(bert))
    with pytest.raises(AdapterError, match="init_weights"):
        parse_adapter("compacter[init_weights=houlsby]")
