"""Qwen 2 and 2.5: Llama with biases at queries, keys and values."""

from dataclasses import replace

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families.shared import LLAMA

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
