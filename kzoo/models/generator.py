"""`kzoo.TextGenerator`: a causal language model with adapters that completes texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.backbones.text import EncodedTexts
from kzoo.models.language_model import LanguageModel


@keras.saving.register_keras_serializable(package="kzoo")
class TextGenerator(LanguageModel):
    """Predicts the next token; outputs float32 logits (batch, tokens, vocabulary).

    `fit` and `evaluate` take texts, or (prompt, completion) pairs of which only the completion is
    learned. `generate` completes prompts with a key-value cache; adapters act in it.

    Raises:
        WeightsError: The trunk is no decoder, or its tokenizer has no end token.
    """

    head_kind: ClassVar[str] = "causal_lm"
    task_field: ClassVar[str] = "causal_lm"

    def begins(self, encoded: EncodedTexts) -> NDArray[np.int64]:
        """Completions begin behind their prompts."""
        return encoded.lengths

    def decoding_inputs(
        self, encoded: EncodedTexts, rows: NDArray[np.int64], length: int
    ) -> dict[str, Any]:
        """Prompts with room behind them."""
        return self.processor.pad(encoded, rows, length)

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
