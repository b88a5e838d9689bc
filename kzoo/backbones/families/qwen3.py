"""Qwen 3: Llama with heads of any width, and norms of queries and keys."""

from dataclasses import replace

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families.shared import LLAMA

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
