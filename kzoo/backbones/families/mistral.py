"""Mistral: Llama with a window in attention, and a logits matrix of its own always."""

from dataclasses import replace
from typing import Any

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families.shared import (
    LLAMA,
    LLAMA_HUB,
    MINIATURE_DECODER,
    UNTIED_KEYS,
    unscaled_rope,
)
from kzoo.backbones.hf_format import Facts


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
