"""Prefixes inside the attention of every family, with and without a cache."""

import keras
import numpy as np
import pytest

from kzoo.adapters import parse_adapter
from kzoo.adapters.acting.composition import Stack
from kzoo.adapters.acting.injection import Sites
from kzoo.backbones.families import FAMILIES
from kzoo.errors import AdapterError
from tests.families import FAMILY_NAMES, make_tiny_backbone, sequence_output, tiny_inputs

P = 3
TASKS = {
    "gpt2": "GPT2CausalLM",
    "llama": "LlamaCausalLM",
    "mistral": "MistralCausalLM",
    "qwen3": "Qwen3CausalLM",
    "gemma": "GemmaCausalLM",
    "t5": "T5Seq2SeqLM",
    "bart": "BartSeq2SeqLM",
}


def record(place, run):
    """The first call of the place's method during `run`, and what it returned."""
    method, calls = getattr(place.layer, place.method), []

    def recorded(*args, **kwargs):
        output = method(*args, **kwargs)
        calls.append(((args, kwargs), output))
        return output

    setattr(place.layer, place.method, recorded)
    run()
    delattr(place.layer, place.method)
    return calls[0]


def first(output):
    return np.asarray(output[0] if isinstance(output, tuple) else output)


WINDOWS = {
    "gemma": {"use_sliding_window_attention": True, "sliding_window_size": 3},
    "qwen2": {"use_sliding_window_attention": True, "sliding_window_size": 3},
    "qwen3": {"sliding_window_size": 3},
}


@pytest.mark.parametrize(
    ("family", "changes"), [*((name, {}) for name in FAMILY_NAMES), *WINDOWS.items()]
)
def test_real_tokens_keep_their_shares(family, changes):
    """softmax over prefix and tokens = (1 - m) attention to tokens + m attention to the prefix.

    With equal prefix values v, of which two are tried, m follows from the difference, and the
    rest must be the plain attention: masks, windows, positions and groups of heads have stayed.
    """
    backbone = make_tiny_backbone(family, **changes)
    places = FAMILIES.get(family).places(backbone)
    inputs = tiny_inputs(family)
    for place in (place for place in places if place.site == "attention"):
        if family == "t5":  # the method ends in a projection; make it the identity
            kernel = place.layer.output_projector.kernel
            kernel.assign(np.eye(*kernel.shape))
        (args, kwargs), plain = record(place, lambda: backbone(inputs))
        sites = Sites(places)
        sites.add("a", parse_adapter({"method": "prefix", "num_virtual_tokens": P}))
        rng = np.random.default_rng(0)
        variables = sites.variables("a")
        key, value = (variables[f"{place.key}.prefix_{name}"] for name in ("key", "value"))
        key.assign(rng.normal(0, 1, key.shape))
        sites.activate("a")
        outputs = []
        for constant in (0.0, 1.0):
            value.assign(np.full(value.shape, constant))
            outputs.append(first(getattr(place.layer, place.method)(*args, **kwargs)))
        if family == "t5":
            inner = place.layer.inner_dim
            outputs, plain = [o[..., :inner] for o in outputs], first(plain)[..., :inner]
        mass = outputs[1] - outputs[0]
        assert mass.min() > 1e-4 and mass.max() < 1
        assert mass.std() > 1e-3  # the keys decide
        np.testing.assert_allclose(outputs[0] / (1 - mass), first(plain), rtol=2e-3, atol=2e-5)
        sites.remove("a")


def test_two_prefixes_are_one_longer_prefix():
    """Nested prefixes in one attention, also where relative positions are involved."""
    for family in ("deberta-v2", "t5"):
        backbone = make_tiny_backbone(family)
        sites = Sites(FAMILIES.get(family).places(backbone))
        for name, count in (("a", 1), ("b", 2), ("both", 3)):
            sites.add(name, parse_adapter({"method": "prefix", "num_virtual_tokens": count}))
        for key, variable in sites.variables("both").items():
            variable.assign(np.random.default_rng(1).normal(size=variable.shape))
            sites.variables("a")[key].assign(variable[:1])
            sites.variables("b")[key].assign(variable[1:])
        inputs = tiny_inputs(family)
        outputs = {}
        for composition in (None, "a", "both", Stack("a", "b"), Stack("b", "a")):
            sites.activate(composition)
            outputs[str(composition)] = np.asarray(sequence_output(backbone(inputs)))
        plain, one, both, *stacks = outputs.values()
        assert np.abs(plain - one).max() > 1e-3 and np.abs(one - both).max() > 1e-3
        for stack in stacks:
            np.testing.assert_allclose(stack, both, atol=1e-5)


def test_projection_makes_the_flat_prefix(tiny_trunk):
    """E, two layers and tanh in numpy, put into a flat prefix."""
    sites = Sites(tiny_trunk.family.places(tiny_trunk.backbone))
    sites.add("mlp", parse_adapter("prefix[num_virtual_tokens=3,projection=true,bottleneck=5]"))
    sites.add("flat", parse_adapter("prefix[num_virtual_tokens=3]"))
    made = {key: np.asarray(value) for key, value in sites.variables("mlp").items()}
    for key, variable in sites.variables("mlp").items():
        made[key] = np.random.default_rng(len(key)).normal(size=variable.shape).astype("float32")
        variable.assign(made[key])
    hidden = np.tanh(
        made["shared.embedding"] @ made["shared.hidden_kernel"] + made["shared.hidden_bias"]
    )
    flat = sites.variables("flat")
    for block in (0, 1):
        place = f"blocks.{block}.attention"
        both = hidden @ made[f"{place}.output_kernel"] + made[f"{place}.output_bias"]
        flat[f"{place}.prefix_key"].assign(both[:, :16].reshape(3, 2, 8))
        flat[f"{place}.prefix_value"].assign(both[:, 16:].reshape(3, 2, 8))
    outputs = []
    for name in ("mlp", "flat"):
        sites.activate(name)
        outputs.append(np.asarray(sequence_output(tiny_trunk.backbone(tiny_inputs("bert")))))
    np.testing.assert_allclose(*outputs, atol=1e-5)


@pytest.mark.parametrize("family", ["gpt2", "llama", "mistral", "qwen3", "gemma"])
def test_cache_and_plain_pass_agree(family):
    """Prompt and shifted prefix: token by token with a cache, as one pass without."""
    import keras_hub

    backbone = make_tiny_backbone(family)
    task = getattr(keras_hub.models, TASKS[family])(backbone, preprocessor=None)
    sites = Sites(FAMILIES.get(family).places(backbone))
    sites.add("p", parse_adapter("prefix[shift_positions=true,num_virtual_tokens=3]|prompt"))
    for variable in sites.variables("p").values():
        variable.assign(np.random.default_rng(0).normal(0, 1, variable.shape))
    ids = tiny_inputs(family, rows=2, length=9)["token_ids"][:1]
    inputs = {"token_ids": np.concatenate([[[60, 61]], ids], 1)}
    inputs["padding_mask"] = np.ones_like(inputs["token_ids"])
    plain = np.asarray(backbone({"token_ids": ids, "padding_mask": np.ones_like(ids)}))
    sites.activate("p")
    whole = np.asarray(backbone(inputs))
    assert np.abs(whole[:, 2:] - plain).max() > 1e-2
    _, cache = task._build_cache(keras.ops.zeros_like(inputs["token_ids"]))
    states = []
    for index in range(inputs["token_ids"].shape[1]):
        token = inputs["token_ids"][:, index : index + 1]
        _, state, cache = task.call_with_cache(token, cache, index)
        states.append(np.asarray(state))
    np.testing.assert_allclose(np.concatenate(states, 1), whole, atol=2e-5)


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_cached_decoder_and_plain_pass_agree(family):
    import keras_hub

    backbone = make_tiny_backbone(family)
    task = getattr(keras_hub.models, TASKS[family])(backbone, preprocessor=None)
    sites = Sites(FAMILIES.get(family).places(backbone))
    sites.add("p", parse_adapter("prefix[num_virtual_tokens=3]"))
    for variable in sites.variables("p").values():
        variable.assign(np.random.default_rng(0).normal(0, 1, variable.shape))
    inputs = {key: value[:1] for key, value in tiny_inputs(family).items()}
    plain = np.asarray(sequence_output(backbone(inputs)))
    sites.activate("p")
    whole = np.asarray(sequence_output(backbone(inputs)))
    assert np.abs(whole - plain).max() > 1e-2
    mask, decoder = inputs["encoder_padding_mask"], inputs["decoder_token_ids"]
    _, encoded, own, cross = task._build_cache(
        inputs["encoder_token_ids"], mask, keras.ops.zeros_like(decoder)
    )
    states = []
    for index in range(decoder.shape[1]):
        token = decoder[:, index : index + 1]
        _, state, own, _ = task.call_decoder_with_cache(
            encoded, mask, token, own, index, cross, None
        )
        states.append(np.asarray(state))
    np.testing.assert_allclose(np.concatenate(states, 1), whole, atol=2e-5)


def test_what_a_prefix_refuses():
    for family in ("deberta-v2", "vit"):
        places = FAMILIES.get(family).places(make_tiny_backbone(family))
        with pytest.raises(AdapterError, match="`prefix` needs `position_embedding`"):
            parse_adapter("prefix[shift_positions=true]").choose(places)
    with pytest.raises(AdapterError, match="must name attention layers only, not 'query'"):
        parse_adapter("prefix[targets=[query]]")
    with pytest.raises(AdapterError, match="each once"):
        parse_adapter("prefix[targets=[]]")


def test_positions_that_a_prefix_takes_are_not_left_for_text(tiny_classifier):
    """The tiny trunk has 64 positions; `max_tokens` is 62."""
    text = ["good " * 100]
    model = tiny_classifier(max_tokens=62, num_classes=2)
    for shifted, longest in ((False, 62), (True, 59)):
        model.adapters.add("a", f"prefix[num_virtual_tokens=5,shift_positions={shifted}]")
        assert model.text.encode(text)["token_ids"].shape == (1, longest)
        assert np.isfinite(model.predict(text, verbose=0)).all()
        model.adapters.delete("a")
