"""AdapterFusion against numpy, around real adapters of a block."""

import numpy as np
import pytest
from families import make_tiny_backbone

from kzoo.adapters import parse_adapter
from kzoo.adapters.acting.injection import Sites
from kzoo.adapters.methods.fusion import FusionConfig
from kzoo.backbones.families import FAMILIES
from kzoo.errors import AdapterError

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def bert():
    return make_tiny_backbone("bert")


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def attention(u, outputs, layer):
    """softmax_i((Q u + b_q) . (K a_i + b_k)), sum_i p_i V a_i, term by term."""
    v = {variable.name: np.asarray(variable) for variable in layer.weights}
    q = u @ v["query_kernel"] + v["query_bias"] if "query_kernel" in v else u
    keys = [a @ v["key_kernel"] + v["key_bias"] if "key_kernel" in v else a for a in outputs]
    scores = np.stack([(q * k).sum(-1) for k in keys], -1)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p = p / p.sum(-1, keepdims=True)
    values = [a @ v["value_kernel"] if "value_kernel" in v else a for a in outputs]
    return p, sum(p[..., i, None] * value for i, value in enumerate(values))


@pytest.mark.parametrize("options", [{}, {"value": False}, {"query": False}, {"key": False}])
def test_formula(options, bert):
    sites = Sites(FAMILIES.get("bert").places(bert))
    (layer, *_) = sites.add("f", FusionConfig(method="fusion", **options))
    for variable in layer.weights:
        variable.assign(0.3 * normal(*variable.shape))
    u, outputs = normal(2, 3, 16), [normal(2, 3, 16) for _ in range(3)]
    p, expected = attention(u, outputs, layer)
    np.testing.assert_allclose(np.asarray(layer.weights_of(u, outputs)), p, atol=1e-5)
    np.testing.assert_allclose(np.asarray(layer.fuse(u, outputs)), expected, atol=1e-5)
    assert p.std() > 0.1
    sites.remove("f")


@pytest.mark.parametrize("method", ["pfeiffer", "houlsby", "par_bn"])
def test_in_place_of_what_one_adapter_adds(method, bert):
    """Untrained, the fusion of an adapter with itself is that adapter; V regularised."""
    sites = Sites(FAMILIES.get("bert").places(bert))
    config = parse_adapter(f"{method}[reduction_factor=4]")
    sites.add("a", config)
    for variable in sites.variables("a").values():
        variable.assign(0.5 * normal(*variable.shape))
    fusion = FusionConfig.of([config, config], sites.places)
    fusions = dict(zip(fusion.targets, sites.add("f", fusion), strict=True))
    adapters = {key: layer for key, layer in sites.layers("a") if layer.weights}
    assert list(adapters) == list(fusions)
    block, x = bert.transformer_layers[0], normal(2, 3, 16)
    sites.activate("a")
    expected = np.asarray(block(x))

    def fused(inner, x, layer, fusion):
        opened = layer.open(inner, x)
        both = [layer.delta(opened.u), layer.delta(opened.u)]
        return layer.close(opened, fusion.fuse(opened.u, both))

    for key, layer in adapters.items():
        layer.apply = lambda inner, x, own=layer, k=key: fused(inner, x, own, fusions[k])
    result = np.asarray(block(x))
    np.testing.assert_allclose(result, expected, atol=1e-4)
    for layer in fusions.values():
        loss = float(np.asarray(sum(layer.losses)))
        v = np.asarray(layer.value_kernel)
        np.testing.assert_allclose(loss, 0.01 * ((v - np.eye(16)) ** 2).sum(), rtol=1e-3)
        layer.value_kernel.assign(2 * np.eye(16))
        np.testing.assert_allclose(float(np.asarray(sum(layer.losses))), 0.16, rtol=1e-5)
    assert np.abs(np.asarray(block(x)) - expected).max() > 1e-2
    sites.remove("a")
    sites.remove("f")


def test_refused(bert):
    places = FAMILIES.get("bert").places(bert)

    def of(*specs):
        return FusionConfig.of([parse_adapter(spec) for spec in specs], places)

    with pytest.raises(AdapterError, match="`lora` is none"):
        of("pfeiffer", "lora")
    with pytest.raises(AdapterError, match="the same `parallel`"):
        of("pfeiffer", "par_bn")
    with pytest.raises(AdapterError, match="at the same places"):
        of("pfeiffer[leave_out=[0]]", "pfeiffer[leave_out=[1]]")
    with pytest.raises(AdapterError, match="`ln_after`"):
        of("pfeiffer", "pfeiffer[ln_after=true]")
    with pytest.raises(AdapterError, match="same places"):
        of("houlsby", "houlsby[attention=false]")
    sites = Sites(places)
    sites.add("f", FusionConfig(method="fusion"))
    sites.activate("f")
    with pytest.raises(AdapterError, match=r"kzoo\.Fuse"):
        bert.transformer_layers[0](normal(1, 2, 16))
    sites.remove("f")


def test_a_fusion_in_a_model(tiny_classifier, reviews, tmp_path):
    """Fuse: with one adapter given twice it is that adapter; only the fusion is trained."""
    import kzoo

    model = tiny_classifier(num_classes=2)
    x = model.text.encode(["good film", "a bad cat"])
    for name in ("a", "b"):
        model.adapters.add(name, "pfeiffer[reduction_factor=4]")
        for variable in model.adapters.variables(name).values():
            variable.assign(0.5 * normal(*variable.shape))
    with pytest.raises(AdapterError, match="no adapter `a-b`"):
        model.adapters.activate(kzoo.Fuse("a", "b"))
    assert model.adapters.add_fusion("a", "b") == "a-b"
    model.adapters.activate(kzoo.Fuse("a", "b"))
    trained = {id(v) for v in model.trainable_variables}
    own = {id(v) for v in model.adapters.variables("a-b").values()}
    assert trained == own | {id(v) for v in model.head.of("a-b").weights}
    fused = np.asarray(model(x))
    before = [np.asarray(v) for v in model.adapters.variables("a-b").values()]
    model.fit(*reviews, epochs=1, verbose=0)
    after = model.adapters.variables("a-b").values()
    assert all(np.abs(np.asarray(v) - b).max() > 0 for v, b in zip(after, before, strict=True))
    model.adapters.activate(kzoo.Fuse("a", "b", freeze=False))
    assert len(model.trainable_variables) > len(trained)
    model.save(tmp_path / "model.keras")
    again = kzoo.load(tmp_path / "model.keras")
    assert again.adapters.composition == kzoo.Fuse("a", "b", freeze=False)
    np.testing.assert_array_equal(np.asarray(again(x)), np.asarray(model(x)))
    same = tiny_classifier(num_classes=2)
    for name in ("a", "b"):
        same.adapters.add(name, "pfeiffer[reduction_factor=4]")
        for key, variable in same.adapters.variables(name).items():
            variable.assign(model.adapters.variables("a")[key])
    same.adapters.add_fusion("a", "b")
    same.adapters.activate("a")
    alone = np.asarray(same(x))
    same.adapters.activate(kzoo.Fuse("a", "b"))
    np.testing.assert_allclose(np.asarray(same(x)), alone, atol=1e-4)
    assert np.abs(fused - alone).max() > 1e-3
    same.adapters.add("elsewhere", "pfeiffer[leave_out=[0]]", activate=False)
    with pytest.raises(AdapterError, match="at the same places"):
        same.adapters.add_fusion("a", "elsewhere")
