"""Every family: facts rebuild the trunk, frozen is deterministic, cut keeps the right blocks."""

import json

import numpy as np
import pytest
from families import FAMILY_NAMES, make_tiny_backbone, sequence_output, tiny_inputs

from kzoo.backbones.architecture import Architecture
from kzoo.backbones.families import family_named
from kzoo.backbones.trunk import build, config_of, cut, seed_dropout, set_trainable
from kzoo.errors import RecipeError, WeightsError

OTHER = {"gemma": "gelu_pytorch_tanh"}  # part of KerasHub's code there
VARIANTS = [
    *((name, {}) for name in FAMILY_NAMES),
    ("llama", {"tie_word_embeddings": False, "rope_max_wavelength": 77.0}),
    ("mistral", {"sliding_window": None, "head_dim": 6}),
    ("t5", {"use_gated_activation": True, "tie_embedding_weights": False}),
    ("vit", {"use_class_token": False}),
]


def outputs(backbone, name, **call):
    return np.asarray(sequence_output(backbone(tiny_inputs(name), **call)))


def dropouts(backbone):
    layers = backbone._flatten_layers(include_self=False)
    return [
        (type(layer).__name__, getattr(layer, "rate", None), getattr(layer, "_dropout", None))
        for layer in layers
        if type(layer).__name__ in ("Dropout", "MultiHeadAttention", "CachedMultiHeadAttention")
    ]


@pytest.mark.parametrize(("name", "changes"), VARIANTS)
def test_facts_rebuild_the_trunk(name, changes):
    backbone = make_tiny_backbone(name, **changes)
    family = family_named(name)
    built = Architecture.of_built(backbone, family)
    plain = outputs(backbone, name)
    built.apply(backbone, family)  # says what is there already,
    atol = 1e-3 if name == "qwen3" else 0  # but KerasHub's epsilon of queries and keys is 1e-5
    np.testing.assert_allclose(outputs(backbone, name), plain, rtol=0, atol=atol)
    architecture = Architecture(activation=OTHER.get(name, "tanh"), layer_norm_epsilon=0.01)
    architecture.apply(backbone, family)
    expected = outputs(backbone, name)
    assert np.abs(expected - plain).max() > 1e-4
    assert Architecture.of_built(backbone, family).layer_norm_epsilon == 0.01
    facts = json.loads(json.dumps(config_of(backbone)))
    again = build(name, facts, architecture)
    assert json.loads(json.dumps(config_of(again))) == facts
    assert [v.shape for v in again.weights] == [v.shape for v in backbone.weights]
    again.set_weights(backbone.get_weights())
    np.testing.assert_array_equal(outputs(again, name), expected)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_a_frozen_trunk_has_no_dropout_and_a_freed_one_its_own(name):
    backbone = make_tiny_backbone(name)
    before = dropouts(backbone)
    assert any(rate for _, rate, _ in before)
    plain = outputs(backbone, name)
    set_trainable(backbone, trainable=False)
    assert backbone.trainable_variables == []
    np.testing.assert_allclose(outputs(backbone, name, training=True), plain, atol=1e-5)
    set_trainable(backbone, trainable=True)
    assert len(backbone.trainable_variables) == len(backbone.weights) - sum(
        "seed" in v.path for v in backbone.weights
    )
    assert dropouts(backbone) == before
    seed_dropout(backbone, 3)
    first = outputs(backbone, name, training=True)
    assert np.abs(first - plain).max() > 1e-3
    seed_dropout(backbone, 3)
    np.testing.assert_array_equal(outputs(backbone, name, training=True), first)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_cut(name):
    family = family_named(name)
    backbone = make_tiny_backbone(name, num_layers=3)
    architecture = Architecture.of_built(backbone, family)
    architecture.apply(backbone, family)
    smaller = cut(backbone, architecture, [1, 2])
    assert smaller.num_layers == 2
    old = {place.key: place.layer for place in family.places(backbone)}
    for place in family.places(smaller):
        stack, _, rest = place.key.partition(".")
        number, dot, site = rest.partition(".")
        shared = name == "albert"
        key = f"{stack}.{int(number) + 1}.{site}" if dot and not shared else place.key
        if site not in ("block", "attention"):  # T5's first block has a table more
            for new_value, old_value in zip(place.layer.weights, old[key].weights, strict=True):
                np.testing.assert_array_equal(np.asarray(new_value), np.asarray(old_value))
    if family.pre_norm:  # cutting the first block is making it an identity
        for blocks in family.block_lists(backbone):
            silence(blocks[0])
        np.testing.assert_allclose(outputs(smaller, name), outputs(backbone, name), atol=1e-5)
    with pytest.raises(RecipeError, match="rising block numbers"):
        cut(backbone, architecture, [2, 1])
    with pytest.raises(RecipeError, match="between 0 and 2"):
        cut(backbone, architecture, [3])


def silence(block):
    """Zeroes what a block adds to the residual stream."""
    for variable in block.weights:
        if any(part in variable.path for part in ("output", "ffw_linear", "dense_2")):
            variable.assign(0 * variable)


def test_shared_groups_cannot_be_cut():
    backbone = make_tiny_backbone("albert", num_layers=4, num_groups=2)
    with pytest.raises(RecipeError, match="2 groups of shared blocks"):
        cut(backbone, Architecture(), [0, 1])


def test_an_activation_that_is_code_cannot_be_changed():
    backbone = make_tiny_backbone("gemma")
    with pytest.raises(WeightsError, match="can only be 'gelu_pytorch_tanh'"):
        Architecture(activation="relu").apply(backbone, family_named("gemma"))


@pytest.mark.parametrize(
    ("family", "config", "activation", "epsilon"),
    [
        ("t5", {"feed_forward_proj": "gated-gelu"}, "gelu_new", 1e-6),
        ("t5", {"feed_forward_proj": "gated-silu", "layer_norm_epsilon": 1e-3}, "silu", 1e-3),
        ("t5", {}, "relu", 1e-6),
        ("gpt2", {"layer_norm_epsilon": 1e-3}, "gelu_new", 1e-3),
        ("llama", {"rms_norm_eps": 1e-5}, "silu", 1e-5),
        ("bart", {}, "gelu", 1e-5),
        ("gemma", {"hidden_act": "gelu", "hidden_activation": None}, "gelu_pytorch_tanh", 1e-6),
        ("deberta-v2", {}, "gelu", 1e-7),
    ],
)
def test_architecture_of_hf_configs(family, config, activation, epsilon):
    found = Architecture.from_hf(config, family_named(family))
    assert (found.activation, found.layer_norm_epsilon) == (activation, epsilon)
