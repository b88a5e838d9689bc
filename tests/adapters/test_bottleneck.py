"""The bottleneck formulas against numpy, inside real blocks that normalise last and first."""

import contextlib

import numpy as np
import pytest
from families import make_tiny_backbone, tiny_inputs

from kzoo.adapters import parse_adapter
from kzoo.adapters.acting.injection import Sites
from kzoo.backbones.families import FAMILIES
from kzoo.errors import AdapterError

RNG = np.random.default_rng(0)


def norm(x, gamma, beta, epsilon):
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(var + epsilon) * np.asarray(gamma) + np.asarray(beta)


FUNCTIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "swish": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "leakyrelu": lambda x: np.where(x > 0, x, 0.01 * x),
}


class Bottleneck:
    """A(u) without a fixed scaling, by the layer's own variables."""

    def __init__(self, layer, function=FUNCTIONS["relu"]):
        self.v = {variable.name: np.asarray(variable) for variable in layer.weights}
        self.function = function

    def __call__(self, u):
        v, start = self.v, u
        if "norm_before_gamma" in v:
            start = norm(u, v["norm_before_gamma"], v["norm_before_beta"], 1e-5)
        narrow = self.function(start @ v["down_kernel"] + v["down_bias"])
        a = narrow @ v["up_kernel"] + v["up_bias"]
        if "gate_kernel" in v:
            each = 1 / (1 + np.exp(-(u @ v["gate_kernel"] + v["gate_bias"])))
            a = a * each.mean(axis=1, keepdims=True)
        return a * v.get("scaling", 1.0)

    def norm(self, u):
        """The adapter's new norm on its output."""
        return norm(u, self.v["norm_after_gamma"], self.v["norm_after_beta"], 1e-5)


@contextlib.contextmanager
def recorded(layer, seen, what):
    """Notes what goes into a layer, and what comes out."""
    original = layer.call

    def call(x, *args, **kwargs):
        y = original(x, *args, **kwargs)
        seen[what] = (np.asarray(x), np.asarray(y))
        return y

    layer.call = call
    yield
    layer.call = original


class Setting:
    """The last block of a tiny backbone, and what runs through it without adapters."""

    def __init__(self, family):
        self.backbone = make_tiny_backbone(family)
        self.places = FAMILIES.get(family).places(self.backbone)
        self.by_key = {place.key: place.layer for place in self.places}
        self.inputs = tiny_inputs(family)
        self.prefix = "decoder.1." if "decoder.1.query" in self.by_key else "blocks.1."
        self.pre_norm = FAMILIES.get(family).pre_norm

    def run(self):
        seen = {}
        with contextlib.ExitStack() as stack:
            for name in ("value", "ffn_intermediate", "ffn_output", "ffn_norm", "attention_norm"):
                layer = self.by_key[self.prefix + name]
                stack.enter_context(recorded(layer, seen, name))
            for name in ("attention_output", "block"):
                layer = self.by_key[self.prefix + name]
                stack.enter_context(recorded(layer, seen, name))
            self.backbone(self.inputs)
        return seen

    def parts(self, seen, part):
        """(x, h, result) of attention or ffn."""
        if self.pre_norm:
            h = seen[f"{part}_norm"][0]
            result = seen["ffn_norm"][0] if part == "attention" else seen["block"][1]
        else:
            h = seen["value" if part == "attention" else "ffn_intermediate"][0]
            result = seen["ffn_intermediate"][0] if part == "attention" else seen["block"][1]
        return seen[f"{part}_output"][1], h, result

    def block_norm(self, part):
        if self.pre_norm:
            return lambda x: x
        layer = self.by_key[f"{self.prefix}{part}_norm"]
        return lambda x: norm(x, layer.gamma, layer.beta, layer.epsilon)

    def adapted(self, spec):
        """The layers at the last block, with random variables, and a run with them active."""
        sites = Sites(self.places)
        layers = sites.add("a", parse_adapter(spec))
        plain = self.run()
        for layer in layers:
            for variable in layer.weights:
                variable.assign(RNG.normal(0.2, 0.5, variable.shape))
        # Only in the last block, so that the plain run shows what goes into it.
        for key, site in sites.attached.items():
            if key.startswith(self.prefix):
                site.active = "a"
        seen = self.run()
        mine = {k.removeprefix(self.prefix): v for k, v in sites.layers("a") if "1." in k}
        sites.remove("a")
        return plain, seen, {k: v for k, v in mine.items() if v.weights}


@pytest.fixture(scope="module")
def post():
    return Setting("bert")


@pytest.fixture(scope="module")
def pre():
    return Setting("gpt2")


# Formula by x (sublayer's output), h (residual input), n (the block's norm) and A.
POST = {
    "houlsby[reduction_factor=4,non_linearity=relu]": lambda x, h, n, a: n(a(x) + x + h),
    "pfeiffer[reduction_factor=4]": lambda x, h, n, a: n(a(n(x + h)) + x + h),
    "seq_bn[attention=true,ffn=false]": lambda x, h, n, a: n(a(n(x + h)) + x + h),
    "par_bn": lambda x, h, n, a: n(x + 4 * a(h) + h),
    "parallel[attention=true,ffn=false]": lambda x, h, n, a: n(x + 4 * a(h) + h),
    "scaled_par_bn": lambda x, h, n, a: n(x + a(h) + h),
    "par_bn[scaling=channel,ln_before=true]": lambda x, h, n, a: n(x + a(h) + h),
    "double_seq_bn[non_linearity=relu,scaling=0.5]": lambda x, h, n, a: n(0.5 * a(x) + x + h),
    "seq_bn[use_gating=true]": lambda x, h, n, a: n(a(n(x + h)) + x + h),
    "seq_bn[ln_after=true]": lambda x, h, n, a: n(a.norm(a(n(x + h))) + x + h),
    "seq_bn[ln_after=true,adapter_residual_before_ln=true]": (
        lambda x, h, n, a: n(a.norm(a(n(x + h)) + x) + h)
    ),
    "seq_bn[residual_before_ln=false]": lambda x, h, n, a: n(a(n(x + h)) + n(x + h) + h),
    "seq_bn[residual_before_ln=post_add]": lambda x, h, n, a: n(a(n(x + h)) + x + 2 * h),
    "seq_bn[original_ln_after=false]": lambda x, h, n, a: a(n(x + h)) + x,
    "seq_bn[original_ln_after=false,residual_before_ln=false]": (
        lambda x, h, n, a: a(n(x + h)) + n(x + h)
    ),
}
PRE = {
    "houlsby[reduction_factor=4,non_linearity=relu]": lambda x, h, n, a: a(x) + x + h,
    "pfeiffer[reduction_factor=4]": lambda x, h, n, a: a(x + h) + x + h,
    "seq_bn[attention=true,ffn=false]": lambda x, h, n, a: a(x + h) + x + h,
    "par_bn": lambda x, h, n, a: x + 4 * a(h) + h,
    "scaled_par_bn[attention=true]": lambda x, h, n, a: x + a(h) + h,
}


def check(setting, spec, formula):
    plain, seen, layers = setting.adapted(spec)
    parts = {key.split("_")[0] for key in layers}
    part = "attention" if "attention" in parts else "ffn"
    layer = next(layer for key, layer in layers.items() if key.startswith(part))
    x, h, before = setting.parts(plain, part)
    _, _, result = setting.parts(seen, part)
    expected = formula(x, h, setting.block_norm(part), Bottleneck(layer))
    np.testing.assert_allclose(result, expected, atol=2e-5, rtol=1e-5)
    assert np.abs(result - before).max() > 1e-2


@pytest.mark.parametrize("spec", POST)
def test_where_blocks_normalise_last(spec, post):
    check(post, spec, POST[spec])


@pytest.mark.parametrize("spec", PRE)
def test_where_blocks_normalise_first(spec, pre):
    check(pre, spec, PRE[spec])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_non_linearities(function, post):
    sites = Sites(post.places)
    layer = sites.add("a", parse_adapter(f"seq_bn[non_linearity={function}]"))[0]
    for variable in layer.weights:
        variable.assign(RNG.normal(0, 0.5, variable.shape))
    sites.remove("a")
    u = RNG.normal(size=(2, 3, 16)).astype("float32")
    expected = Bottleneck(layer, FUNCTIONS[function])(u)
    np.testing.assert_allclose(np.asarray(layer.delta(u)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "spec"),
    [
        ("bert", "seq_bn[ln_after=true,use_gating=true,scaling=channel]"),
        ("bert", "par_bn[attention=true,init_weights=mam_adapter]"),
        ("bert", "seq_bn[original_ln_after=false,residual_before_ln=false]"),
        ("gpt2", "pfeiffer"),
        ("gpt2", "scaled_parallel[attention=true]"),
    ],
)
def test_untrained_is_exact_identity(family, spec, post, pre):
    setting = post if family == "bert" else pre
    plain = setting.run()["block"][1]
    sites = Sites(setting.places)
    sites.add("a", parse_adapter(spec))
    sites.activate("a")
    changed = setting.run()["block"][1]
    sites.remove("a")
    np.testing.assert_array_equal(changed, plain)


def test_cross_attention():
    """In a decoder's block, the adapter of its cross-attention stands apart from the others."""
    places = FAMILIES.get("bart").places(make_tiny_backbone("bart"))
    config = parse_adapter("houlsby[cross_attention=true]")
    keys = [place.key for place in config.choose(places)]
    assert [k for k in keys if k.startswith("decoder.0")] == [
        "decoder.0.attention_output",
        "decoder.0.cross_attention_output",
        "decoder.0.ffn_output",
    ]
    keys = [place.key for place in parse_adapter("houlsby").choose(places)]
    assert "decoder.0.cross_attention_output" not in keys
    config = parse_adapter("par_bn[cross_attention=true,ffn=false]")
    keys = [place.key for place in config.choose(places)]
    assert keys[:2] == ["decoder.0.cross_query", "decoder.0.cross_attention_output"]


def test_initial_values(post):
    sites = Sites(post.places)
    expected = {"bert": 0.02, "houlsby": 0.0088, "mam_adapter": 0.25 / np.sqrt(3)}
    for kind, deviation in expected.items():
        layers = sites.add("a", parse_adapter(f"seq_bn[reduction_factor=0.05,init_weights={kind}]"))
        down, up = np.asarray(layers[0].down_kernel), np.asarray(layers[0].up_kernel)
        assert down.std() == pytest.approx(deviation, rel=0.05)
        assert up.std() == pytest.approx(0 if kind == "mam_adapter" else deviation, rel=0.05)
        if kind != "mam_adapter":
            assert np.abs(down - up.T).max() > deviation  # different numbers
        sites.remove("a")


def test_dropout_and_dropped_rows(post):
    """Active in training only; a dropped row is dropped as a whole, the others scaled up."""
    sites = Sites(post.places)
    layer = sites.add("a", parse_adapter("par_bn[scaling=1,stochastic_depth=0.5,dropout=0.25]"))[1]
    sites.remove("a")
    layer.up_kernel.assign(RNG.normal(size=layer.up_kernel.shape))
    u = RNG.normal(size=(40, 3, 16)).astype("float32")
    full = np.asarray(layer.delta(u))
    for part, share in ((layer.drop_rows, 0.5), (layer.dropout, 0.25)):
        out = np.asarray(part(full, training=True))
        kept = out != 0
        np.testing.assert_allclose(out[kept], (full / (1 - share))[kept], rtol=1e-5)
        assert 0.5 * share < 1 - kept.mean() < 1.5 * share
    rows = np.asarray(layer.drop_rows(full, training=True)).any(axis=(1, 2))
    assert 0 < rows.sum() < 40


def test_width_of_the_bottleneck():
    config = parse_adapter("pfeiffer[reduction_factor=16]")
    assert (config.width(768), config.width(384), config.width(8)) == (48, 24, 1)
    config = parse_adapter("pfeiffer[reduction_factor={1: 8, default: 16}]")
    assert (config.width(768, 0), config.width(768, 1)) == (48, 96)
    with pytest.raises(AdapterError, match=r"`reduction_factor` must name block 2"):
        parse_adapter("pfeiffer[reduction_factor={1: 8}]").width(768, 2)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("bottleneck[ffn=false]", "at least one of"),
        ("par_bn[original_ln_before=true]", "`original_ln_before`"),
        ("houlsby[original_ln_after=false]", "lose the residual"),
        ("houlsby[residual_before_ln=post_add]", "post_add"),
        ("seq_bn[adapter_residual_before_ln=true]", "`ln_after=true`"),
        ("seq_bn[scaling=much]", "scaling"),
        ("seq_bn_inv[inv_adapter=glow]", "inv_adapter"),
    ],
)
def test_refused_configurations(spec, message):
    with pytest.raises(AdapterError, match=message):
        parse_adapter(spec)


def test_refused_where_blocks_normalise_first(pre):
    config = parse_adapter("seq_bn[residual_before_ln=false]")
    with pytest.raises(AdapterError, match="normalises in front"):
        config.choose(pre.places)
    with pytest.raises(AdapterError, match="embeddings_norm"):
        parse_adapter("seq_bn_inv").choose(pre.places)


@pytest.mark.parametrize("spec", ["pfeiffer[attention=true]", "par_bn[attention=true]"])
def test_cache_and_plain_pass_agree(spec, pre):
    """What h is does not depend on whether tokens come all at once or one by one."""
    import keras
    import keras_hub

    lm = keras_hub.models.GPT2CausalLM(pre.backbone, preprocessor=None)
    sites = Sites(pre.places)
    sites.add("a", parse_adapter(spec))
    for variable in sites.variables("a").values():
        variable.assign(RNG.normal(0, 0.3, variable.shape))
    ids = RNG.integers(0, 60, (2, 5))
    inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
    plain = np.asarray(lm(inputs))
    sites.activate("a")
    whole = np.asarray(lm(inputs))
    assert np.abs(whole - plain).max() > 0.1
    cache = keras.ops.zeros((2, 2, 2, 5, 2, 8))
    for start, stop in ((0, 3), (3, 4), (4, 5)):
        logits, _, cache = lm.call_with_cache(ids[:, start:stop], cache, start)
        np.testing.assert_allclose(np.asarray(logits), whole[:, start:stop], atol=1e-4)
    sites.remove("a")


@pytest.mark.parametrize(
    "spec",
    [
        "seq_bn_inv[ln_before=true,use_gating=true,scaling=learned]",
        "compacter++[reduction_factor=4]",
        "loreft",
    ],
)
def test_half_precision(spec):
    """Layer norms switch Keras' casting off, also for an adapter around them."""
    backbone = make_tiny_backbone("bert", dtype="mixed_bfloat16", hidden_dim=32, num_layers=1)
    inputs = tiny_inputs("bert")
    plain = backbone(inputs)["sequence_output"]
    sites = Sites(FAMILIES.get("bert").places(backbone))
    sites.add("a", parse_adapter(spec))
    sites.activate("a")
    untrained = backbone(inputs)["sequence_output"]
    assert untrained.dtype == plain.dtype == "bfloat16"
    np.testing.assert_array_equal(np.asarray(untrained), np.asarray(plain))
    for variable in sites.variables("a").values():
        variable.assign(RNG.normal(0, 0.3, variable.shape))
    moved = np.asarray(backbone(inputs)["sequence_output"]) - np.asarray(plain)
    assert np.abs(moved.astype("float32")).max() > 0.1
