"""Llama 2 and 3, which differ in their tokenizers alone; others derive from them."""

from dataclasses import replace
from typing import Any

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families.shared import LLAMA, LLAMA_HUB, rope, unknown_rope
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
