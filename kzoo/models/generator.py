"""Language models that write: `TextGenerator` (decoders), `Seq2SeqGenerator` (encoder-decoders)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.backbones.text import EncodedTexts
from kzoo.errors import InputError
from kzoo.models.decoding import rounded
from kzoo.models.language_model import LanguageModel
from kzoo.models.writing import Writing


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
        stop: str | Sequence[str] | None = None,
        adapter_names: Sequence[str] | None = None,
        **options: Any,
    ) -> list[Any]:
        """Completes texts.

        Args:
            prompts: n texts, or lists of chat messages (see `chat_text`). One that leaves no room
                for the completion loses its beginning, with a warning.
            max_new_tokens: At most so many tokens each.
            sampler: `"greedy"`, `"top_k"`, `"top_p"`, `"random"`, `"beam"` or a
                `keras_hub.samplers` object.
            batch_size: Texts at a time. Default: the recipe's.
            stop: Texts to stop at beside the end token.
            adapter_names: With `kzoo.PerRow` active, the adapter of each row.
            **options: `num_return_sequences`, `seed`, `repetition_penalty`,
                `no_repeat_ngram_size`: see `kzoo.models.writing.Writing`.

        Returns:
            n completions, without the prompts; with `num_return_sequences` a list of so many for
            each.

        Raises:
            InputError: Nothing to write behind, settings out of range, or more new tokens than
                `max_tokens` has room for.
        """
        settings = Writing(max_new_tokens, sampler, stop, **options)
        return self.complete(prompts, "prompts", settings, batch_size, adapter_names)


@keras.saving.register_keras_serializable(package="kzoo")
class Seq2SeqGenerator(LanguageModel):
    """Writes a target for a source; outputs float32 logits (batch, target tokens, vocabulary).

    `fit` and `evaluate` take (source, target) pairs, as a list of pairs or as two columns: the
    encoder reads the source, the decoder learns each token of the target and its end from those
    before it (teacher forcing). `generate` writes targets with a key-value cache; adapters act in
    it, those in the cross-attention too. Virtual tokens of prompts stand before the source.

    Raises:
        WeightsError: The trunk is no encoder-decoder, or its tokenizer has no end token.
    """

    head_kind: ClassVar[str] = "seq2seq_lm"
    task_field: ClassVar[str] = "seq2seq_lm"
    reserves = False
    written = ("decoder_token_ids", "decoder_padding_mask")

    def begins(self, encoded: EncodedTexts) -> NDArray[np.int64]:
        """Every target begins behind the same opening."""
        return np.full(len(encoded), len(self.processor.decoder_opening), "int64")

    def decoding_inputs(
        self, encoded: EncodedTexts, rows: NDArray[np.int64], length: int
    ) -> dict[str, Any]:
        """Sources as they are, and a decoder that has its opening only."""
        longest = int(encoded.lengths[rows].max(initial=1))
        inputs = self.processor.pad(encoded, rows, rounded(longest, self.processor.limit))
        opening = self.processor.decoder_opening
        ids = np.zeros((len(rows), length), "int32")
        mask = np.zeros_like(ids)
        ids[:, : len(opening)], mask[:, : len(opening)] = opening, 1
        return {**inputs, "decoder_token_ids": ids, "decoder_padding_mask": mask}

    def generate(
        self,
        sources: Sequence[str],
        max_new_tokens: int = 50,
        sampler: Any = "greedy",
        batch_size: int | None = None,
        stop: str | Sequence[str] | None = None,
        adapter_names: Sequence[str] | None = None,
        **options: Any,
    ) -> list[Any]:
        """Writes a target for each source.

        Args:
            sources: n texts. One that is too long loses its end, with a warning.
            max_new_tokens: At most so many tokens each.
            sampler: `"greedy"`, `"top_k"`, `"top_p"`, `"random"`, `"beam"` or a
                `keras_hub.samplers` object.
            batch_size: Texts at a time. Default: the recipe's.
            stop: Texts to stop at beside the end token.
            adapter_names: With `kzoo.PerRow` active, the adapter of each row.
            **options: `num_return_sequences`, `seed`, `repetition_penalty`,
                `no_repeat_ngram_size`: see `kzoo.models.writing.Writing`.

        Returns:
            n targets; with `num_return_sequences` a list of so many for each.

        Raises:
            InputError: Nothing to write behind, settings out of range, or more new tokens than
                `max_tokens` has room for.
        """
        settings = Writing(max_new_tokens, sampler, stop, **options)
        return self.complete(sources, "sources", settings, batch_size, adapter_names)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.predict`, on prepared inputs.

        Raises:
            InputError: Raw texts: logits of targets of different lengths make no array.
        """
        if self.is_raw(x):
            raise InputError(
                "predict() takes no raw texts here. Targets: model.generate(sources); logits of "
                "pairs: model.predict(model.prepare(pairs, batch_size=len(pairs)))."
            )
        return super().predict(x, *args, **kwargs)
