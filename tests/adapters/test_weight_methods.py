"""The methods that change weights: identity, formulas against numpy, merging, on a tiny BERT."""

import numpy as np
import pytest
from tiny import make_tiny_trunk

from kzoo.adapters import parse_adapter
from kzoo.adapters.acting.composition import PerRow
from kzoo.adapters.acting.injection import Sites
from kzoo.adapters.methods.lycoris import factorize
from kzoo.adapters.methods.orthogonal import nearest_divisor
from kzoo.errors import AdapterError

RNG = np.random.default_rng(0)
SITES = "[query,value,attention_output,ffn_intermediate,ffn_output]"
SPECS = (
    f"lora[targets={SITES},train_bias=lora_only]",
    "lora[targets=[token_embedding,pooler],use_dora=true]",
    "lora[lora_bias=true]",
    f"dora[r=3,targets={SITES},train_bias=lora_only]",
    "rslora[r=2,init=gaussian]",
    f"pissa[r=3,targets={SITES}]",
    "dora[r=3,init=pissa]",
    f"olora[r=3,targets={SITES}]",
    "ia3",
    "ia3[pre_activation=true,targets_out=[query,value]]",
    f"loha[r=2,targets={SITES}]",
    f"lokr[r=2,targets={SITES}]",
    f"lokr[r=1,decompose_both=true,init=lycoris,targets={SITES}]",
    f"vera[r=4,targets={SITES}]",
    f"oft[block_size=4,targets={SITES}]",
    f"oft[block_size=0,num_blocks=2,cayley_neumann=false,targets={SITES}]",
    "oft[block_size=8,block_share=true]",
    "oft[block_size=1]",
    f"adalora[init_r=4,target_r=2,targets={SITES}]",
    "ln",
    "bitfit",
)


@pytest.fixture(scope="module")
def trunk():
    return make_tiny_trunk(dropout=0.0)


@pytest.fixture
def sites(trunk):
    made = Sites(trunk.family.places(trunk.backbone))
    yield made
    for name in list(made.store.held):
        made.remove(name)


def add(sites, spec, name="a", spread=0.3):
    """Adds an adapter with random numbers and makes it act."""
    layers = sites.add(name, parse_adapter(spec))
    for layer in layers:
        for variable in layer.trainable_variables:
            variable.assign(np.asarray(variable) + RNG.normal(0, spread, variable.shape))
    sites.activate(name)
    return layers


def inputs(rows=2):
    ids = np.random.default_rng(1).integers(0, 60, (rows, 5)).astype("int32")
    return {
        "token_ids": ids,
        "segment_ids": np.zeros_like(ids),
        "padding_mask": np.ones_like(ids),
    }


def hidden(trunk, rows=2, **options):
    outputs = trunk.backbone(inputs(rows), **options)
    return np.concatenate(
        [np.asarray(outputs["sequence_output"]), np.asarray(outputs["pooled_output"])[:, None]], 1
    )


def weights(layer):
    return {v.name: np.asarray(v).astype("float64") for v in layer.weights}


@pytest.mark.parametrize("spec", SPECS)
def test_identity_then_merged_equals_unmerged(spec, trunk, sites):
    plain = hidden(trunk)
    layers = sites.add("a", parse_adapter(spec))
    sites.activate("a")
    np.testing.assert_array_equal(hidden(trunk), plain)  # bit for bit, before training
    sites.remove("a")
    layers = add(sites, spec)
    trained = sum(v.shape.num_elements() for v in sites.trainable("a"))
    places = [layer.place for layer in layers]
    config = parse_adapter(spec)
    assert trained == sum(config.count_at(place) for place in places)
    adapted = hidden(trunk)
    if spec != "oft[block_size=1]":  # blocks of one number cannot turn
        assert np.abs(adapted - plain).max() > 1e-2
    kept = []
    try:
        for layer in layers:
            for variable, value in layer.merged():
                kept.append((variable, np.asarray(variable).copy()))
                variable.assign(value)
        sites.remove("a")
        tolerance = 1e-4 if spec.startswith(("oft", "adalora")) else 1e-5
        np.testing.assert_allclose(hidden(trunk), adapted, atol=tolerance)
    finally:
        for variable, value in reversed(kept):
            variable.assign(value)


def test_formulas(trunk, sites):
    """Each method at the query projection (16 -> 2 x 8) against its paper's formula."""
    host = trunk.backbone.transformer_layers[0]._self_attention_layer._query_dense
    w = np.asarray(host.kernel, "float64").reshape(16, 16)
    b = np.asarray(host.bias, "float64").reshape(16)
    x = RNG.normal(size=(2, 3, 16))

    def at_query(spec, formula):
        layer = add(sites, spec)[0]
        found = np.asarray(host(x.astype("float32"))).reshape(2, 3, 16)
        np.testing.assert_allclose(found, formula(**weights(layer)), atol=2e-5)
        sites.remove("a")
        return layer

    def lora(s):
        return lambda lora_a, lora_b: x @ w + b + s * x @ lora_a @ lora_b

    def dora(lora_a, lora_b, magnitude):
        total = w + 2 * lora_a @ lora_b
        return x @ (magnitude * total / np.linalg.norm(total, axis=0)) + b

    def pissa(lora_a, lora_b, lora_a0, lora_b0):
        u, values, v = np.linalg.svd(w)
        part = (u[:, :4] * values[:4]) @ v[:4]
        np.testing.assert_allclose(2 * lora_a0 @ lora_b0, part, atol=1e-5)
        return x @ (w - part + 2 * lora_a @ lora_b) + b

    def olora(lora_a, lora_b, lora_a0, lora_b0):
        q, upper = np.linalg.qr(w.T)  # PEFT decomposes (out, in)
        part = (q[:, :4] @ upper[:4]).T
        np.testing.assert_allclose(lora_a0 @ lora_b0, part, atol=1e-5)
        return x @ (w + 2 * (lora_a @ lora_b - part)) + b

    def loha(hada_w1_a, hada_w1_b, hada_w2_a, hada_w2_b):
        return x @ (w + 2 * (hada_w1_b @ hada_w1_a) * (hada_w2_b @ hada_w2_a)) + b

    def lokr(lokr_w1, lokr_w2_a, lokr_w2_b):
        return x @ (w + 8 * np.kron(lokr_w1, lokr_w2_b @ lokr_w2_a)) + b

    def oft(oft_r):
        q = np.zeros((4, 4, 4))
        q[:, *np.triu_indices(4, 1)] = oft_r
        q = q - q.transpose(0, 2, 1)
        r = [np.eye(4) + 2 * n + 2 * n @ n + 2 * n @ n @ n + n @ n @ n @ n for n in q]
        blocks = [x[..., 4 * i : 4 * i + 4] @ r[i] for i in range(4)]
        return np.concatenate(blocks, -1) @ w + b

    def cayley(oft_r):
        q = np.zeros((2, 8, 8))
        q[:, *np.triu_indices(8, 1)] = oft_r
        q = q - q.transpose(0, 2, 1)
        r = [(np.eye(8) - n) @ np.linalg.inv(np.eye(8) + n) for n in q]
        np.testing.assert_allclose(r[0] @ r[0].T, np.eye(8), atol=1e-12)  # a rotation
        return np.concatenate([x[..., :8] @ r[0], x[..., 8:] @ r[1]], -1) @ w + b

    def adalora(lora_a, lora_e, lora_b, rank_mask):
        return x @ w + b + 8 / (4 + 1e-5) * x @ lora_a @ np.diag(lora_e) @ lora_b

    at_query("lora[r=4,alpha=8]", lora(2.0))
    at_query("rslora[r=4,alpha=8]", lora(4.0))
    at_query("dora[r=4,alpha=8]", dora)
    at_query("pissa[r=4,alpha=8]", pissa)
    at_query("olora[r=4,alpha=8]", olora)
    at_query("lora[r=4,alpha=8,rank_pattern={query: 2}]", lora(4.0))
    at_query("lora[lora_bias=true]", lambda lora_b_bias, **v: lora(1.0)(**v) + lora_b_bias)
    at_query("lora[train_bias=lora_only]", lambda bias, **v: lora(1.0)(**v) - b + bias)
    at_query("ia3[targets_out=[query]]", lambda ia3_l: (x @ w + b) * ia3_l)
    at_query("ia3[targets_out=[],targets_in=[query]]", lambda ia3_l: (x * ia3_l) @ w + b)
    at_query("loha[r=4]", loha)
    at_query("lokr[r=1]", lokr)
    at_query("oft[block_size=4]", oft)
    at_query("oft[block_size=8,cayley_neumann=false]", cayley)
    at_query("adalora[init_r=4,target_r=1]", adalora)
    at_query("bitfit[targets=query]", lambda bias: x @ w + bias)
    layer = sites.add("v", parse_adapter("vera[r=4]"))[0]
    a, vb = (np.asarray(v, "float64") for v in (layer.shared.vera_a, layer.shared.vera_b))
    assert np.abs(a).max() <= np.sqrt(6 / 16) and np.abs(vb).max() <= np.sqrt(6 / 4)
    np.testing.assert_array_equal(np.asarray(layer.vera_lambda_d), np.float32(0.1))
    layer.vera_lambda_b.assign(RNG.normal(size=16))
    sites.activate("v")
    found = np.asarray(host(x.astype("float32"))).reshape(2, 3, 16)
    expected = x @ w + b + ((0.1 * x @ a) @ vb) * np.asarray(layer.vera_lambda_b)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_the_residual_of_pissa_is_smaller_than_the_weights(trunk, sites):
    layer = sites.add("a", parse_adapter("pissa[r=8]"))[0]
    w = np.asarray(layer.projection.matrix())
    left = w - layer.scaling * np.asarray(layer.lora_a0) @ np.asarray(layer.lora_b0)
    expected = np.linalg.svd(w, compute_uv=False)[8]
    assert np.linalg.norm(left, 2) == pytest.approx(expected, rel=1e-4)
    layer.lora_a.assign(np.asarray(layer.lora_a) + RNG.normal(0, 0.1, layer.lora_a.shape))
    a, b = layer.plain_factors()
    assert a.shape == (16, 16) and b.shape == (16, 16)
    np.testing.assert_allclose(layer.scaling * a @ b, np.asarray(layer.delta()), atol=1e-5)


def test_norms(trunk, sites):
    """LayerNorm with gamma and beta of the adapter; BitFit with beta."""
    host = trunk.backbone.embeddings_layer_norm
    x = RNG.normal(size=(2, 3, 16))
    n = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + host.epsilon)
    layer = add(sites, "ln[targets=embeddings_norm]")[0]
    v = weights(layer)
    np.testing.assert_allclose(
        np.asarray(host(x.astype("float32"))), n * v["gamma"] + v["beta"], atol=1e-5
    )
    sites.remove("a")
    layer = add(sites, "bitfit[targets=embeddings_norm]")[0]
    expected = n * np.asarray(host.gamma) + weights(layer)["bias"]
    np.testing.assert_allclose(np.asarray(host(x.astype("float32"))), expected, atol=1e-5)


def test_ia3_before_or_behind_the_activation(trunk, sites):
    block = trunk.backbone.transformer_layers[0]
    up, down = block._feedforward_intermediate_dense, block._feedforward_output_dense
    activation = up.activation
    x = RNG.normal(size=(2, 3, 16)).astype("float32")
    z = x @ np.asarray(up.kernel) + np.asarray(up.bias)
    scale = RNG.normal(1, 0.5, 32).astype("float32")
    for spec, hidden_units in (
        ("ia3[pre_activation=true]", lambda: activation(scale * z)),
        ("ia3", lambda: scale * activation(z)),
    ):
        layer = next(
            layer
            for layer in sites.add("a", parse_adapter(spec))
            if layer.place.key in ("blocks.0.ffn_intermediate", "blocks.0.ffn_output")
        )
        layer.ia3_l.assign(scale)
        sites.activate("a")
        expected = np.asarray(hidden_units()) @ np.asarray(down.kernel) + np.asarray(down.bias)
        np.testing.assert_allclose(np.asarray(down(up(x))), expected, atol=1e-5)
        sites.remove("a")


def test_virtual_tokens_have_no_row_in_an_embedding(trunk, sites):
    layer = add(sites, "lora[targets=token_embedding]")[0]
    table = trunk.backbone.token_embedding
    rows = table.input_dim
    ids = np.array([[1, rows + 3]], "int32")
    update = np.asarray(layer.update(ids))
    assert np.abs(update[0, 0]).max() > 0.01 and (update[0, 1] == 0).all()


ROWS = ("lora[train_bias=lora_only,targets=[query,ffn_output]]", "dora", "pissa[r=2]", "ia3", "ln")
ROWS += ("bitfit", "adalora[init_r=3,target_r=2]", "vera[r=3]", "oft[block_size=4]", "loha", "lokr")
ROWS += ("hira[r=2]", "boft", "road", "beft", "pvera[r=3]", "waveft[n_frequency=9]")


@pytest.mark.parametrize("spec", ROWS)
def test_rows_with_adapters_of_their_own(spec, trunk, sites):
    """Gathered in one call, equal to one adapter after the other."""
    plain, alone = hidden(trunk, rows=3), {}
    for name in "ab":
        add(sites, spec, name)
        alone[name] = hidden(trunk, rows=3)
    sites.activate(PerRow("a", "b"))
    sites.ids.value = np.array([1, -1, 0], "int32")
    try:
        found = hidden(trunk, rows=3)
    finally:
        sites.ids.value = None
    for row, expected in enumerate((alone["b"], plain, alone["a"])):
        np.testing.assert_allclose(found[row], expected[row], atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "plain"),
    [
        ("lora[dropout=0.5]", "lora"),
        ("dora[dropout=0.5]", "dora"),
        ("loha[rank_dropout=0.5]", "loha"),
        ("lokr[module_dropout=0.6]", "lokr"),
        ("vera[r=4,dropout=0.5]", "vera[r=4]"),
        ("oft[block_size=4,module_dropout=0.5]", "oft[block_size=4]"),
        ("adalora[dropout=0.5]", "adalora"),
    ],
)
def test_dropout_in_training_only(spec, plain, trunk, sites):
    layers = add(sites, spec)
    still = hidden(trunk)
    first, second = hidden(trunk, training=True), hidden(trunk, training=True)
    assert np.abs(first - still).max() > 1e-3 and np.abs(first - second).max() > 1e-3
    others = sites.add("b", parse_adapter(plain))
    for layer, other in zip(layers, others, strict=True):
        for mine, theirs in zip(layer.weights, other.weights, strict=True):
            theirs.assign(mine)
    sites.activate("b")
    np.testing.assert_array_equal(hidden(trunk), still)


def test_what_is_dropped(trunk, sites):
    """Whole outputs (LoHa scales up the rest), or the whole update; DoRA drops both inputs."""
    x = RNG.normal(size=(1, 1, 16)).astype("float32")
    layer = add(sites, "loha[rank_dropout=0.5]")[0]
    mask = np.asarray(layer.rank_dropout(np.ones(1000, "float32"), training=True))
    assert set(np.unique(mask)) == {0.0, 1.0} and 0.4 < mask.mean() < 0.6
    half = np.arange(16, dtype="float32") % 2
    layer.rank_dropout = lambda ones: half
    expected = np.asarray(layer.product(x)) * half / 0.5
    np.testing.assert_allclose(np.asarray(layer.update(x)), expected, atol=1e-6)
    layer.rank_dropout = lambda ones: 0 * half
    assert (np.asarray(layer.update(x)) == 0).all()  # and no NaN
    sites.remove("a")
    layer = add(sites, "dora[r=4,dropout=0.5]")[0]
    layer.dropout = lambda flat: flat * half
    w, b = np.asarray(layer.projection.matrix()), np.asarray(layer.projection.flat_bias())
    delta = np.asarray(layer.delta())
    scale = np.asarray(layer.magnitude) / np.linalg.norm(w + delta, axis=0)
    expected = x @ w + b + (scale - 1) * ((x * half) @ w) + scale * ((x * half) @ delta)
    found = np.asarray(layer.place.layer(x)).reshape(1, 1, 16)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_coft_stays_in_its_ball(trunk, sites):
    layer = add(sites, "oft[block_size=4,coft=true,eps=0.02]")[0]
    limit = 0.02 / np.sqrt(4)
    inside = np.asarray(layer.constrained(layer.oft_r))
    norms = np.sqrt(2 * (inside**2).sum(-1))  # each number stands twice in Q
    np.testing.assert_allclose(norms, limit, rtol=1e-5)
    layer.oft_r.assign(inside)
    np.testing.assert_allclose(np.asarray(layer.constrained(layer.oft_r)), inside, rtol=1e-6)
    assert layer.oft_r.constraint is layer.constrained  # the optimizer applies it


def test_splitting_a_width():
    assert [factorize(n) for n in (768, 127, 16, 24, 1)] == [
        (24, 32),
        (1, 127),
        (4, 4),
        (4, 6),
        (1, 1),
    ]
    assert [factorize(24, f) for f in (4, 5, 7, 12)] == [(4, 6), (4, 6), (4, 6), (12, 2)]
    assert [nearest_divisor(24, n) for n in (8, 7, 5, 100)] == [8, 6, 4, 24]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("lora[targets=attention_norm]", "must be projections or embeddings"),
        ("loha[targets=token_embedding]", "must be projections. Received: token_embedding"),
        ("lora[targets=block]", "must be projections"),
        ("lora[targets=quary]", "Did you mean `query`"),
        ("lora[rank_pattern={key: 4}]", "`rank_pattern` names 'key'"),
        ("pissa[r=17]", "`r` must be at most 16"),
        ("pissa[targets=token_embedding]", "`init` is not possible at the embedding"),
        ("lora[use_dora=true,lora_bias=true]", "`lora_bias` goes neither"),
        ("ia3[targets_out=[],targets_in=[]]", "at least one"),
        ("ia3[targets_out=[ffn_output]]", "each once"),
        ("lokr[decompose_factor=0]", "-1 or a positive number"),
        ("oft[num_blocks=2]", "one of both must be 0"),
        ("adalora[target_r=13]", "at most `init_r`"),
        ("adalora[total_step=10,tinit=5,tfinal=5]", "`total_step`"),
        ("ln[targets=query]", "must be norms"),
        ("bitfit[targets=token_embedding]", "with a bias"),
    ],
)
def test_what_is_refused(spec, said, sites):
    with pytest.raises(AdapterError) as error:
        sites.add("a", parse_adapter(spec))
    assert said in str(error.value)
    assert not sites.attached
