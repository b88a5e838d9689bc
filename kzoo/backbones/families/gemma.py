"""Gemma 1 and 2: a gate with GELU, written into KerasHub's code, and tied embeddings."""

from dataclasses import replace
from typing import Any

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families.shared import (
    LLAMA,
    MINIATURE_DECODER,
    UNTIED_KEYS,
    rope,
    unknown_rope,
)
from kzoo.backbones.family import Stack
from kzoo.backbones.hf_format import Facts

_SITES = {
    "query": "attention.query_dense",
    "key": "attention.key_dense",
    "value": "attention.value_dense",
    "attention_output": "attention.output_dense",
    "attention_norm": "pre_attention_norm",
    "attention": "attention:_compute_attention",
    "ffn_gate": "gating_ffw",
    "ffn_intermediate": "gating_ffw_2",
    "ffn_output": "ffw_linear",
    "ffn_norm": "pre_ffw_norm",
    "position_embedding": "attention.rope_layer",
    "block": "",
}
_TANH = "gelu_pytorch_tanh"


def _both_halves(facts: Facts) -> dict[str, Any]:
    wavelength, scaling = rope(facts)
    if scaling or wavelength != 10000.0:
        raise unknown_rope(scaling.get("rope_type", f"theta {wavelength}"))
    return {"intermediate_dim": 2 * facts["intermediate_size"]}


FAMILIES.register(
    "gemma",
    replace(
        LLAMA,
        name="gemma",
        backbone="GemmaBackbone",
        config=replace(
            LLAMA.config,
            keys={**UNTIED_KEYS, "head_dim": "head_dim"},
            defaults={"head_dim": 256, "hidden_act": _TANH, "rms_norm_eps": 1e-6},
            needs={"attention_bias": False, "tie_word_embeddings": True},
            more=_both_halves,
            # The first releases say `gelu`, and meant this.
            activation=lambda name: _TANH if name == "gelu" else name,
        ),
        # KerasHub counts both halves of the gated part.
        miniature={
            **MINIATURE_DECODER,
            "head_dim": 8,
            "intermediate_dim": 48,
            "num_key_value_heads": 1,
        },
        stacks=(Stack(sites=_SITES),),
        activation=(),
        causal_lm="GemmaCausalLM",
        pad_tokens=("<pad>",),
        sizes=lambda backbone: {
            "intermediate_dim": backbone.intermediate_dim // 2,
            "post_norms": bool(backbone.use_post_ffw_norm),
        },
        extra_parameters=lambda dims: (
            dims.different_blocks * 2 * dims.hidden_dim if dims.post_norms else 0
        ),
    ),
)
