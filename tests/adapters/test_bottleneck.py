"""The bottleneck formulas against numpy, inside a real block."""

import numpy as np
import pytest

from kzoo.adapters import parse_adapter
from kzoo.adapters.injection import Sites

RNG = np.random.default_rng(0)


def norm(x, layer):
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(var + layer.epsilon) * np.asarray(layer.gamma) + np.asarray(
        layer.beta
    )


def bottleneck(u, layer, function):
    down = function(u @ np.asarray(layer.down_kernel) + np.asarray(layer.down_bias))
    return down @ np.asarray(layer.up_kernel) + np.asarray(layer.up_bias)


FUNCTIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "swish": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "leakyrelu": lambda x: np.where(x > 0, x, 0.01 * x),
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_pfeiffer_uses_the_norm_twice(function, tiny_trunk):
    """LN(A(LN(x + h)) + x + h) after the feed-forward part."""
    config = parse_adapter(f"pfeiffer[reduction_factor=4,non_linearity={function}]")
    sites = Sites(tiny_trunk.family.places(tiny_trunk.backbone))
    layer = sites.add("a", config)[0]
    for variable in layer.weights:
        variable.assign(RNG.normal(0, 0.5, variable.shape))
    sites.activate("a")
    site = tiny_trunk.backbone.transformer_layers[0]._feedforward_layer_norm
    z = RNG.normal(size=(2, 3, 16)).astype("float32")  # z = x + h
    u = norm(z, site)
    expected = norm(bottleneck(u, layer, FUNCTIONS[function]) + z, site)
    np.testing.assert_allclose(np.asarray(site(z)), expected, atol=1e-5)
    assert layer.down_kernel.shape == (16, 4)


def test_houlsby_stands_before_the_residual(tiny_trunk):
    """A(x) + x after both projections, so that the block computes LN(A(x) + x + h)."""
    sites = Sites(tiny_trunk.family.places(tiny_trunk.backbone))
    layers = sites.add("a", parse_adapter("houlsby"))
    assert [layer.place.site for layer in layers] == ["attention_output", "ffn_output"] * 2
    for layer in layers:
        for variable in layer.weights:
            variable.assign(RNG.normal(0, 0.5, variable.shape))
    sites.activate("a")
    site = tiny_trunk.backbone.transformer_layers[1]._feedforward_output_dense
    x = RNG.normal(size=(2, 3, 32)).astype("float32")
    y = x @ np.asarray(site.kernel) + np.asarray(site.bias)
    expected = y + bottleneck(y, layers[3], FUNCTIONS["swish"])
    np.testing.assert_allclose(np.asarray(site(x)), expected, atol=1e-5)


def test_width_of_the_bottleneck():
    config = parse_adapter("pfeiffer[reduction_factor=16]")
    assert (config.width(768), config.width(384), config.width(8)) == (48, 24, 1)
