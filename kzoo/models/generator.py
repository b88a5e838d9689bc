"""`kzoo.TextGenerator`: a causal language model with adapters that completes texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.backbones.text import EncodedTexts, TextRow
from kzoo.models.language_model import LanguageModel
from kzoo.models.language_rows import LanguageRows, language_rows
from kzoo.models.spec import ModelSpec


@keras.saving.register_keras_serializable(package="kzoo")
class TextGenerator(LanguageModel):
    """Predicts the next token; outputs float32 logits (batch, tokens, vocabulary).

    `fit` and `evaluate` take texts, or (prompt, completion) pairs of which only the completion is
    learned. `generate` completes prompts with a key-value cache; adapters act in it.

    Args:
        trunk: Built decoder with tokenizer.
        spec: The model's data.
        name: Keras name.

    Raises:
        WeightsError: The trunk is no decoder, or its tokenizer has no end token.
    """

    tasks: ClassVar = {
        "gpt2": "GPT2CausalLM",
        "llama": "LlamaCausalLM",
        "mistral": "MistralCausalLM",
        "qwen2": "QwenCausalLM",
        "qwen3": "Qwen3CausalLM",
        "gemma": "GemmaCausalLM",
    }

    def make_outputs(self, backbone: Any, spec: ModelSpec) -> Any:
        """Logits of the trunk's own output layer."""
        logits = backbone.token_embedding(backbone.output, reverse=True)
        return keras.layers.Activation("linear", dtype="float32", name="logits")(logits)

    def language_rows(self, texts: list[TextRow], prompts: Any) -> LanguageRows:
        """See `kzoo.models.language_rows.language_rows`."""
        return language_rows(self.text, texts, self.end, self.backbone.vocabulary_size, prompts)

    def begins(self, encoded: EncodedTexts) -> NDArray[np.int64]:
        """Completions begin behind their prompts."""
        return encoded.lengths

    def decoding_inputs(
        self, encoded: EncodedTexts, rows: NDArray[np.int64], length: int
    ) -> dict[str, Any]:
        """Prompts with room behind them."""
        return self.text.pad(encoded, rows, length)

    def generate(
        self,
        prompts: Sequence[str],
        max_new_tokens: int = 50,
        sampler: Any = "greedy",
        batch_size: int | None = None,
        stop: str | None = None,
    ) -> list[str]:
        """Completes texts.

        Args:
            prompts: n texts.
            max_new_tokens: At most so many tokens behind each prompt.
            sampler: `"greedy"`, `"top_k"`, `"top_p"`, `"beam"`, ... or a `keras_hub.samplers`
                object.
            batch_size: Prompts at a time. Default: the recipe's.
            stop: Text of a token to stop at beside the end token.

        Returns:
            n completions, without the prompts.

        Raises:
            InputError: No prompts, or prompts that leave no room.
        """
        return self.complete(prompts, "prompts", max_new_tokens, sampler, batch_size, stop)
