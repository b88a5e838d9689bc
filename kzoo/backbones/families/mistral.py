"""Mistral: Llama with a window in attention, and a logits matrix of its own always."""

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families import shared as s

FAMILIES.register(
    "mistral",
    s.llama_like(
        "mistral",
        "MistralBackbone",
        config=s.llama_config(
            s.LLAMA_KEYS,
            more=lambda facts: {
                **s.unscaled_rope(facts),
                "sliding_window": facts.get("sliding_window"),
                "head_dim": facts.get("head_dim"),
            },
        ),
        miniature={**s.MINIATURE_DECODER, "sliding_window": 6},
        causal_lm="MistralCausalLM",
        pad_tokens=("<pad>", "<unk>", "</s>"),
    ),
)
