"""Adapters act in KerasHub's cached decoding as they do in the whole forward pass."""

import keras_hub
import numpy as np
import pytest
from families import make_tiny_backbone

from kzoo.adapters import parse_adapter
from kzoo.adapters.injection import Sites
from kzoo.backbones.families import FAMILIES

TASKS = {
    "gpt2": "GPT2CausalLM",
    "llama": "LlamaCausalLM",
    "mistral": "MistralCausalLM",
    "qwen2": "QwenCausalLM",
    "qwen3": "Qwen3CausalLM",
    "gemma": "GemmaCausalLM",
}
LINEAR = (
    "query",
    "key",
    "value",
    "attention_output",
    "ffn_gate",
    "ffn_intermediate",
    "ffn_output",
)


@pytest.mark.parametrize("name", TASKS)
def test_greedy_with_cache_is_greedy_without(name):
    backbone, family = make_tiny_backbone(name), FAMILIES[name]
    rng = np.random.default_rng(0)
    ids = rng.integers(4, 60, (2, 9)).astype("int32")
    mask = np.zeros_like(ids)
    mask[0, :3], mask[1, :2] = 1, 1
    prompts = ids * mask
    task = getattr(keras_hub.models, TASKS[name])(backbone=backbone, preprocessor=None)
    task.compile(sampler="greedy", run_eagerly=True)

    def generated():
        inputs = {"token_ids": prompts.copy(), "padding_mask": mask.copy()}
        return np.asarray(task.generate(inputs, stop_token_ids=None)["token_ids"])

    plain = generated()
    sites = Sites(family.places(backbone))
    targets = [site for site in LINEAR if site in family.site_names]
    sites.add("a", parse_adapter({"method": "lora", "r": 2, "targets": targets}))
    for variable in sites.trainable("a"):
        variable.assign(rng.normal(0, 0.3, variable.shape))
    sites.activate("a")
    found = generated()
    assert (found != plain).any()
    expected = prompts.copy()
    for position in range(2, 9):
        states = backbone({"token_ids": expected, "padding_mask": np.ones_like(ids)})
        logits = np.asarray(backbone.token_embedding(states, reverse=True))[:, position - 1]
        free = mask[:, position] == 0
        expected[free, position] = logits.argmax(-1)[free]
    np.testing.assert_array_equal(found, expected)
