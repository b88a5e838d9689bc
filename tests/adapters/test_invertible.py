"""Invertible adapters: the coupling, its inverse, and where it stands."""

import numpy as np
import pytest
from families import make_tiny_backbone, tiny_inputs

from kzoo.adapters import parse_adapter
from kzoo.adapters.acting.injection import Sites
from kzoo.adapters.layers.invertible import NiceLayer
from kzoo.backbones.families import FAMILIES

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def bert():
    return make_tiny_backbone("bert")


def dense(x, v, name):
    inside = np.maximum(x @ v[f"{name}_down_kernel"] + v[f"{name}_down_bias"], 0)
    return inside @ v[f"{name}_up_kernel"] + v[f"{name}_up_bias"]


@pytest.mark.parametrize("spec", ["invertible", "seq_bn_inv", "double_seq_bn_inv"])
def test_formula_behind_the_embeddings(spec, bert):
    """y1 = x1 + F(x2), y2 = x2 + G(y1) on the output of the embedding block."""
    sites = Sites(FAMILIES.get("bert").places(bert))
    config = parse_adapter(f"{spec}[non_linearity=relu]")
    layer = next(layer for layer in sites.add("a", config) if isinstance(layer, NiceLayer))
    assert layer.place.key == "embeddings_norm"
    inputs, norm = tiny_inputs("bert"), bert.embeddings_layer_norm
    plain = np.asarray(bert(inputs)["sequence_output"])
    sites.activate("a")
    np.testing.assert_array_equal(np.asarray(bert(inputs)["sequence_output"]), plain)
    for variable in layer.weights:
        variable.assign(RNG.normal(0, 0.3, variable.shape))
    x = RNG.normal(size=(2, 3, 16)).astype("float32")
    y = np.asarray(norm(x))
    sites.activate(None)
    embedded = np.asarray(norm(x))
    v = {variable.name: np.asarray(variable) for variable in layer.weights}
    y1 = embedded[..., :8] + dense(embedded[..., 8:], v, "f")
    expected = np.concatenate([y1, embedded[..., 8:] + dense(y1, v, "g")], -1)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    assert np.abs(y - embedded).max() > 0.1
    np.testing.assert_allclose(np.asarray(layer.inverse(y)), embedded, atol=1e-5)
    sites.remove("a")


def test_odd_widths_split_as_in_adapterhub():
    backbone = make_tiny_backbone("albert", embedding_dim=9)
    config = parse_adapter("invertible[init_weights=bert]")
    places = FAMILIES.get("albert").places(backbone)
    (layer,) = Sites(places).add("a", config)
    assert layer.f_down_kernel.shape == (5, 2) and layer.g_down_kernel.shape == (4, 2)
    assert sum(int(np.prod(w.shape)) for w in layer.weights) == config.count_at(layer.place)
    x = RNG.normal(size=(2, 9)).astype("float32")
    y = layer.forward(x)
    assert np.abs(np.asarray(y) - x).max() > 1e-4
    np.testing.assert_allclose(np.asarray(layer.inverse(y)), x, atol=1e-6)


def test_stands_in_the_encoder_only():
    places = FAMILIES.get("bart").places(make_tiny_backbone("bart"))
    assert [p.key for p in parse_adapter("invertible").choose(places)] == [
        "encoder.embeddings_norm"
    ]
