"""The weight methods of 2024 to 2026 on a tiny BERT: identity, counts, merging, rows, refusals.

That they compute what HF PEFT computes is in `tests/conformance/test_peft_mlp.py`.
"""

import numpy as np
import pytest
from test_weight_methods import SITES, add, hidden, sites, trunk, weights  # noqa: F401 (fixtures)

from kzoo.adapters import parse_adapter
from kzoo.adapters.layers.structured import torch_permutation
from kzoo.adapters.methods.low_rank import LilyConfig
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError

# With options that PEFT's own configurations and the matrix do not have.
SPECS = (
    f"hira[r=3,targets={SITES}]",
    "hira[r=2,targets=token_embedding]",
    f"glora[r=2,targets={SITES}]",
    f"deft[r=3,projector=qr,alpha=6,targets={SITES}]",
    f"delora[r=2,targets={SITES}]",
    f"gralora[r=4,k=2,hybrid_r=1,targets={SITES}]",
    f"pvera[r=3,targets={SITES}]",
    f"randlora[r=5,sparse=true,targets={SITES}]",
    f"vblora[vector_length=4,num_vectors=6,topk=2,targets={SITES}]",
    f"boft[block_size=4,targets={SITES}]",
    "boft[block_size=0,num_blocks=4,factors=3,targets=[query,ffn_intermediate]]",
    f"hra[r=4,targets={SITES}]",
    f"road[variant=road_2,group_size=4,targets={SITES}]",
    f"miss[r=3,targets={SITES}]",
    "miss[r=4,variant=bat,targets=query]",
    f"c3a[block_size=4,targets={SITES}]",
    f"shira[r=2,targets={SITES}]",
    f"fourierft[n_frequency=30,targets={SITES}]",
    f"waveft[n_frequency=30,wavelet=db2,targets={SITES}]",
    f"beft[targets={SITES}]",
    f"lily[r=3,targets={SITES}]",
)
ROUNDED = ("hra", "deft")  # an identity but for rounding


@pytest.mark.parametrize("spec", SPECS)
def test_identity_then_merged_equals_unmerged(spec, trunk, sites):  # noqa: F811
    plain = hidden(trunk)
    layers = sites.add("a", parse_adapter(spec))
    sites.activate("a")
    if not spec.startswith("vblora"):
        tolerance = 3e-6 if spec.startswith(ROUNDED) else 0.0
        np.testing.assert_allclose(hidden(trunk), plain, atol=tolerance, rtol=0)
    sites.remove("a")
    layers = add(sites, spec)
    config, places = parse_adapter(spec), [layer.place for layer in layers]
    trained = sum(v.shape.num_elements() for v in sites.trainable("a"))
    counted = sum(config.count_at(place) for place in places) + config.count_shared(places)
    assert trained == counted
    adapted = hidden(trunk)
    assert np.abs(adapted - plain).max() > 1e-2
    if not layers[0].mergeable:
        with pytest.raises(AdapterError, match=r"`lily` at .* cannot be merged"):
            layers[0].merged()
        return
    kept = []
    try:
        for layer in layers:
            for variable, value in layer.merged():
                kept.append((variable, np.asarray(variable).copy()))
                variable.assign(value)
        sites.remove("a")
        np.testing.assert_allclose(hidden(trunk), adapted, atol=2e-5)
    finally:
        for variable, value in reversed(kept):
            variable.assign(value)


@pytest.mark.parametrize(
    "spec",
    [
        "hira[dropout=0.5]",
        "deft[dropout=0.5]",
        "delora[dropout=0.5]",
        "gralora[dropout=0.5]",
        "randlora[dropout=0.5]",
        "vblora[vector_length=4,dropout=0.5]",
        "boft[dropout=0.5]",
        "miss[dropout=0.5]",
        "pvera[r=3]",  # noise
    ],
)
def test_random_in_training_only(spec, trunk, sites):  # noqa: F811
    add(sites, spec)
    still = hidden(trunk)
    first, second = hidden(trunk, training=True), hidden(trunk, training=True)
    assert np.abs(first - second).max() > 1e-4 and np.abs(first - still).max() > 1e-4
    np.testing.assert_array_equal(hidden(trunk), still)


def test_the_norm_of_delora_is_its_strength(trunk, sites):  # noqa: F811
    """Equation 8: each of the r terms has the norm l / r before the weights' norms come in."""
    layer = add(sites, "delora[r=2,targets=query]")[0]
    a, b = (np.asarray(part, "float64") for part in layer.factors())
    wide = weights(layer)["delora_w_norm"][:, None]
    strength = weights(layer)["delora_lambda"][0]
    for term in range(2):
        one = np.outer(a[:, term] / wide[:, 0], b[term])
        np.testing.assert_allclose(np.linalg.norm(one), abs(strength) / 2, rtol=1e-5)


def test_rotations_keep_lengths(trunk, sites):  # noqa: F811
    x = np.random.default_rng(0).normal(size=(5, 16)).astype("float32")
    for spec in ("boft[factors=2]", "hra[r=3]", "hra[orthogonal=true,r=3]"):
        layer = add(sites, spec)[0]
        turned = np.asarray(layer.turned(x))
        lengths = [np.linalg.norm(part, axis=1) for part in (x, turned)]
        np.testing.assert_allclose(*lengths, rtol=1e-5)
        assert np.abs(turned - x).max() > 0.1
        sites.remove("a")


def test_butterfly_as_peft_orders_it(trunk, sites):  # noqa: F811
    """Without CUDA PEFT makes one factor only, but its permutations can be asked for."""
    torch = pytest.importorskip("torch")
    layers = pytest.importorskip("peft.tuners.boft.layer")
    layer = add(sites, "boft[block_size=4,factors=2,targets=query]")[0]
    theirs = layers.Linear.__new__(layers.Linear)
    squares = torch.tensor(np.asarray(layer.boft_r))
    rotation = torch.eye(16)
    for factor in range(2):
        blocks = theirs.cayley_batch(squares[factor])
        order = theirs.block_butterfly_perm(16, 4 // 2**factor, 2, 1)
        p = theirs.perm2mat(order)
        rotation = p @ torch.block_diag(*blocks) @ p.T @ rotation
    x = np.random.default_rng(0).normal(size=(3, 16)).astype("float32")
    np.testing.assert_allclose(
        np.asarray(layer.turned(x)), (torch.tensor(x) @ rotation).numpy(), atol=1e-5
    )


def test_places_are_those_of_torch():
    torch = pytest.importorskip("torch")
    for size, count, seed in ((60, 60, 56), (9000, 50, 777), (200, 30, 2**40 + 5)):
        expected = torch.randperm(size, generator=torch.Generator().manual_seed(seed))[:count]
        np.testing.assert_array_equal(torch_permutation(size, count, seed), expected.numpy())


def test_what_lily_shares():
    places = [
        Place(f"blocks.{i}.{site}", site, site, 4, 4)
        for i in range(3)
        for site in ("query", "value")
    ]
    config = LilyConfig(method="lily", r=2, num_b=3, stride=2)
    owners = config.owners(places)
    assert owners["blocks.1.query"] == ("blocks_0_query", "blocks_0_query")
    assert owners["blocks.2.query"] == ("blocks_2_query", "blocks_0_query")
    assert owners["blocks.2.value"] == ("blocks_2_value", "blocks_0_value")
    # For each site, two A and one set of three B.
    assert config.count_shared(places) == 2 * (2 * 2 * 4 + 3 * 2 * 4)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("gralora[k=3]", "`r` must be a multiple of `k`"),
        ("gralora[k=5,r=10]", "`k` of `gralora` must divide 16 and 16. Received: 5"),
        ("boft[block_size=3]", "`block_size` of `boft` must divide 16. Received: 3"),
        ("boft[num_blocks=2]", "one of both must be 0"),
        ("boft[block_size=8,factors=3]", "`factors` 3 of `boft` needs blocks of an even width"),
        ("road[group_size=6]", "`group_size` of `road` must divide 16. Received: 6"),
        ("road[group_size=3]", "`group_size`"),
        ("miss[r=17]", "`r` of `miss` must be at most 16"),
        ("miss[r=3,variant=bat]", "`r` of `miss` must divide 16 and 16. Received: 3"),
        ("miss[r=4,variant=bat,dropout=0.1]", "`dropout` must be 0"),
        ("miss[variant=mini,mini_r=3]", "`mini_r` of `miss` must divide 16. Received: 3"),
        ("c3a[block_size=3]", "`block_size` of `c3a` must divide 16 and 16. Received: 3"),
        ("c3a[block_size=4,block_size_pattern={pooler: 2}]", "`block_size_pattern` names 'pooler'"),
        ("shira", "`r` 32 of `shira` makes 1024 numbers"),
        ("fourierft", "`n_frequency` 1000 of `fourierft` makes 1000 numbers"),
        ("waveft[wavelet=db3]", "`wavelet`"),
        ("vblora[topk=9,num_vectors=8]", "`topk` must be at most `num_vectors`"),
        ("vblora", "`vector_length` of `vblora` must divide 16 and 16. Received: 256"),
    ],
)
def test_refused(spec, message, sites):  # noqa: F811
    with pytest.raises(AdapterError, match=message):
        sites.add("a", parse_adapter(spec))
