"""Qwen 3: Llama with heads of any width, and norms of queries and keys."""

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families import shared as s

_MODULES = {
    **s.LLAMA_MODULES,
    "_self_attention_layer._query_dense_layer_norm": "self_attn.q_norm",
    "_self_attention_layer._key_dense_layer_norm": "self_attn.k_norm",
}

FAMILIES.register(
    "qwen3",
    s.llama_like(
        "qwen3",
        "Qwen3Backbone",
        names=s.llama_names(_MODULES),
        config=s.llama_config(
            {**s.TIED_KEYS, "head_dim": "head_dim"},
            {"head_dim": 128},
            needs={"attention_bias": False, "use_sliding_window": False},
            more=s.unscaled_rope,
        ),
        miniature={**s.MINIATURE_DECODER, "head_dim": 6, "tie_word_embeddings": True},
        causal_lm="Qwen3CausalLM",
        pad_tokens=("<|endoftext|>",),
        # The norms of queries and keys.
        extra_parameters=lambda dims: dims.different_blocks * 2 * dims.head_dim,
    ),
)
