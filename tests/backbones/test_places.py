"""The places of a built trunk of every family, and the same by arithmetic."""

from dataclasses import replace

import numpy as np
import pytest
from families import FAMILY_NAMES, make_tiny_backbone, sequence_output, tiny_inputs
from published import LLAMA_3B

from kzoo.backbones.dims import Dims
from kzoo.backbones.families import FAMILIES, family_named, family_of
from kzoo.backbones.places import SITES
from kzoo.errors import WeightsError

VARIANTS = [
    *((name, {}) for name in FAMILY_NAMES),
    ("t5", {"use_gated_activation": True, "key_value_dim": None}),
    ("albert", {"num_layers": 4, "num_groups": 2, "num_inner_repetitions": 2}),
    ("electra", {"embedding_dim": 16}),
    ("llama", {"tie_word_embeddings": False}),
    ("gemma", {"use_post_ffw_norm": True, "use_post_attention_norm": True}),
    ("vit", {"use_mha_bias": False, "patch_size": 2}),
]


@pytest.mark.parametrize(("name", "changes"), VARIANTS)
def test_arithmetic_gives_the_places_of_the_built_trunk(name, changes):
    backbone = make_tiny_backbone(name, **changes)
    family = family_of(backbone)
    assert family is family_named(name)
    built = family.places(backbone)
    dims = Dims.of(backbone)
    assert [replace(place, layer=None) for place in built] == dims.places()
    assert dims.trunk_parameters == backbone.count_params()
    assert Dims(**dims.model_dump()) == dims
    assert len({place.key for place in built}) == len(built)
    assert {place.site for place in built} <= set(SITES)
    assert {place.name for place in built} <= set(family.site_names)
    # One layer, one place: adapters at two places never meet in one layer's method.
    assert len({(id(place.layer), place.method) for place in built}) == len(built)


@pytest.fixture
def spy():
    """Records what one method of a layer is given, until the test ends."""
    spied = []

    def start(place):
        method, seen = getattr(place.layer, place.method), []

        def recorded(*args, **kwargs):
            seen.append((args, kwargs))
            return method(*args, **kwargs)

        setattr(place.layer, place.method, recorded)
        spied.append(place)
        return seen

    yield start
    for place in spied:
        delattr(place.layer, place.method)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_every_place_is_on_the_way_to_the_output(name, spy):
    backbone = make_tiny_backbone(name)
    inputs = tiny_inputs(name)
    plain = np.asarray(sequence_output(backbone(inputs)))
    places = FAMILIES.get(name).places(backbone)
    seen = {place.key: spy(place) for place in places}
    np.testing.assert_array_equal(np.asarray(sequence_output(backbone(inputs))), plain)
    for place in places:
        assert seen[place.key], place.key
        if place.size_in and not place.whole_call and not place.site.endswith("embedding"):
            x = seen[place.key][0][0][0]
            width = np.prod(x.shape[2:]) if place.site == "attention_output" else x.shape[-1]
            assert width == place.size_in, place.key


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("llama", {}),
        ("gemma", {}),
        ("qwen3", {}),
        ("t5", {"use_gated_activation": True, "activation": "silu"}),
    ],
)
def test_the_gate_is_where_the_activation_is(name, changes, spy):
    backbone = make_tiny_backbone(name, **changes)
    places = {p.key.partition(".")[2]: p for p in FAMILIES.get(name).places(backbone)}
    gate, linear, output = (places[f"0.ffn_{part}"] for part in ("gate", "intermediate", "output"))
    seen = spy(output)
    backbone(tiny_inputs(name))
    for place in (linear, gate):
        place.layer.kernel.assign(2 * place.layer.kernel)
        backbone(tiny_inputs(name))
        place.layer.kernel.assign(place.layer.kernel / 2)
    products = [np.asarray(args[0]) for args, _ in seen]
    before, doubled_linear, doubled_gate = products
    np.testing.assert_allclose(doubled_linear, 2 * before, rtol=1e-4, atol=1e-6)
    assert np.abs(doubled_gate - 2 * before).max() > 1e-3


def test_llama_3_2_3b_by_arithmetic():
    assert LLAMA_3B.head_dim == 128
    assert LLAMA_3B.trunk_parameters == 3_212_749_824


def test_unknown_family_and_class():
    with pytest.raises(WeightsError, match="`family` 'lama'"):
        family_named("lama")
    with pytest.raises(WeightsError, match="class int"):
        family_of(3)
    with pytest.raises(ValueError, match="must be one of"):
        Dims(family="lama", num_layers=1, hidden_dim=2, intermediate_dim=2, num_heads=1)
