"""Qwen 2 and 2.5: Llama with biases at queries, keys and values."""

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families import shared as s

FAMILIES.register(
    "qwen2",
    s.llama_like(
        "qwen2",
        "QwenBackbone",
        config=s.llama_config(
            s.TIED_KEYS,
            # HF's window starts at some block; KerasHub's is in all of them.
            needs={"use_sliding_window": False},
            more=s.unscaled_rope,
        ),
        miniature={**s.MINIATURE_DECODER, "tie_word_embeddings": True},
        biased=("query", "key", "value"),
        causal_lm="QwenCausalLM",
        pad_tokens=("<|endoftext|>",),
    ),
)
