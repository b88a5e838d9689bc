"""`full`: whole sublayers beside an adapter; OFT and trained tokens at embeddings."""

import keras
import numpy as np
import pytest

import kzoo
from kzoo.backbones.miniatures import make_miniature, miniature_inputs
from kzoo.errors import AdapterError

RNG = np.random.default_rng(0)


def make_net():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,), dtype="int32")
    x = keras.layers.Embedding(9, 6, name="emb")(inputs)
    x = keras.layers.Dense(5, activation="tanh", name="inside")(x)
    net = keras.Model(inputs, keras.layers.Dense(2, name="out")(keras.layers.Flatten()(x)))
    kzoo.adapt(net)
    return net


IDS = RNG.integers(0, 9, (3, 4))


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        ("full[targets=[inside]]", 6 * 5 + 5),
        ("full[targets=[emb, out]]", 9 * 6 + 20 * 2 + 2),
        ("oft[targets=[emb],block_size=3]", 2 * 3),
        ("oft[targets=[emb],block_size=2,block_share=true,cayley_neumann=false]", 1),
        ("tokens[indices=[1,8],targets=[emb]]", 2 * 6),
    ],
)
def test_identity_action_and_merge(spec, count):
    net = make_net()
    plain = np.asarray(net(IDS))
    net.adapters.add("a", spec)
    np.testing.assert_allclose(np.asarray(net(IDS)), plain, atol=1e-6)
    assert sum(v.size for v in map(np.asarray, net.adapters.variables("a").values())) == count
    for variable in net.adapters.variables("a").values():
        variable.assign(variable + 0.3 * RNG.normal(size=variable.shape))
    adapted = np.asarray(net(IDS))
    assert np.abs(adapted - plain).max() > 1e-3
    net.adapters.merge("a")
    np.testing.assert_allclose(np.asarray(net(IDS)), adapted, atol=1e-5)
    net.adapters.unmerge("a")
    net.adapters.deactivate()
    np.testing.assert_array_equal(np.asarray(net(IDS)), plain)


def test_kernels_of_attention_and_another_method_beside_it():
    backbone = make_miniature("bert")
    adapters = kzoo.adapt(backbone)
    inputs = miniature_inputs("bert")
    plain = np.asarray(backbone(inputs)["pooled_output"])
    adapters.add("a", "lora[r=2]|full[targets=[attention_output,blocks.1.key,pooler]]")
    np.testing.assert_allclose(np.asarray(backbone(inputs)["pooled_output"]), plain, atol=1e-6)
    assert {key.removeprefix("1.") for key in adapters.variables("a") if key.startswith("1.")} == {
        f"{place}.{name}"
        for place in (
            "blocks.0.attention_output",
            "blocks.1.key",
            "blocks.1.attention_output",
            "pooler",
        )
        for name in ("kernel", "bias")
    }
    kernel = adapters.variables("a")["1.pooler.kernel"]
    kernel.assign(kernel + 1)
    assert np.abs(np.asarray(backbone(inputs)["pooled_output"]) - plain).max() > 1e-2


def test_refusals():
    adapters = kzoo.adapt(make_miniature("bert"))
    with pytest.raises(AdapterError, match="the table is also the output layer"):
        adapters.add("a", "full[targets=[token_embedding]]")
    with pytest.raises(AdapterError, match="must be projections or embeddings"):
        adapters.add("a", "full[targets=[ffn_norm]]")
    with pytest.raises(AdapterError, match="must be embeddings"):
        adapters.add("a", "tokens[indices=[1],targets=[query]]")
