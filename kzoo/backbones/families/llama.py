"""Llama and what is built like it: Mistral, Qwen2, Qwen3."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families.shared import (
    LLAMA,
    LLAMA_HUB,
    MINIATURE_DECODER,
    UNTIED_KEYS,
    rope,
    unknown_rope,
    unscaled_rope,
)
from kzoo.backbones.hf_format import Facts, hf_decoder
from kzoo.errors import WeightsError


def _rope_and_heads(facts: Facts) -> dict[str, Any]:
    wavelength, scaling = rope(facts)
    config: dict[str, Any] = {"rope_max_wavelength": wavelength}
    if scaling.get("rope_type") == "llama3":
        config |= {
            "rope_frequency_adjustment_factor": scaling["factor"],
            "rope_low_freq_factor": scaling["low_freq_factor"],
            "rope_high_freq_factor": scaling["high_freq_factor"],
            "rope_pretraining_sequence_length": scaling["original_max_position_embeddings"],
        }
    elif scaling.get("rope_type") == "linear":
        config["rope_position_scaling_factor"] = scaling["factor"]
    elif scaling:
        raise unknown_rope(scaling["rope_type"])
    width, heads = facts["hidden_size"], facts["num_attention_heads"]
    if facts.get("head_dim", width // heads) != width // heads:
        raise WeightsError(
            f"`head_dim` in config.json must be hidden_size / num_attention_heads = "
            f"{width // heads} for LlamaBackbone. Received: {facts['head_dim']}"
        )
    return config


_NEEDS = {"attention_bias": False, "mlp_bias": False}

FAMILIES.register(
    "llama",
    replace(
        LLAMA,
        also=("Llama3Backbone",),
        config=replace(LLAMA.config, needs=_NEEDS, more=_rope_and_heads),
        classes=hf_decoder("model", usual=True),
        hub=LLAMA_HUB,
        causal_lm="LlamaCausalLM",
        pad_tokens=("<|finetune_right_pad_id|>", "<|end_of_text|>", "<pad>", "<unk>", "</s>"),
    ),
)


def _window_and_heads(facts: Facts) -> dict[str, Any]:
    own = {key: facts.get(key) for key in ("sliding_window", "head_dim")}
    return {**unscaled_rope(facts), **own}


FAMILIES.register(
    "mistral",
    replace(
        LLAMA,
        name="mistral",
        backbone="MistralBackbone",
        config=replace(LLAMA.config, keys=UNTIED_KEYS, more=_window_and_heads),
        miniature={**MINIATURE_DECODER, "sliding_window": 6},
        hub=LLAMA_HUB,
        causal_lm="MistralCausalLM",
        pad_tokens=("<pad>", "<unk>", "</s>"),
    ),
)


FAMILIES.register(
    "qwen2",
    replace(
        LLAMA,
        name="qwen2",
        backbone="QwenBackbone",
        # HF's window starts at some block; KerasHub's is in all of them.
        config=replace(LLAMA.config, needs={"use_sliding_window": False}),
        biased=("query", "key", "value"),
        causal_lm="QwenCausalLM",
    ),
)


_MODULES = {
    **LLAMA.names.sites[0],
    "_self_attention_layer._query_dense_layer_norm": "self_attn.q_norm",
    "_self_attention_layer._key_dense_layer_norm": "self_attn.k_norm",
}

FAMILIES.register(
    "qwen3",
    replace(
        LLAMA,
        name="qwen3",
        backbone="Qwen3Backbone",
        names=replace(LLAMA.names, sites=(_MODULES,)),
        config=replace(
            LLAMA.config,
            keys={**LLAMA.config.keys, "head_dim": "head_dim"},
            defaults={**LLAMA.config.defaults, "head_dim": 128},
            needs={"attention_bias": False, "use_sliding_window": False},
        ),
        miniature={**LLAMA.miniature, "head_dim": 6},
        causal_lm="Qwen3CausalLM",
        extra_parameters=lambda dims: dims.different_blocks * 2 * dims.head_dim,  # those norms
    ),
)
