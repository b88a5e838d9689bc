"""`kzoo.Seq2SeqGenerator`: an encoder-decoder with adapters that writes a text for a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.backbones.text import EncodedTexts, TextRow
from kzoo.errors import InputError
from kzoo.models.language_model import LanguageModel
from kzoo.models.language_rows import LanguageRows
from kzoo.models.seq2seq_rows import seq2seq_rows
from kzoo.models.spec import ModelSpec


@keras.saving.register_keras_serializable(package="kzoo")
class Seq2SeqGenerator(LanguageModel):
    """Writes a target for a source; outputs float32 logits (batch, target tokens, vocabulary).

    `fit` and `evaluate` take (source, target) pairs, as a list of pairs or as two columns: the
    encoder reads the source, the decoder learns each token of the target and its end from those
    before it (teacher forcing). `generate` writes targets with a key-value cache; adapters act in
    it, those in the cross-attention too. Virtual tokens of prompts stand before the source.

    Args:
        trunk: Built encoder-decoder with tokenizer.
        spec: The model's data; `max_tokens` bounds source and target each.
        name: Keras name.

    Raises:
        WeightsError: The trunk is no encoder-decoder, or its tokenizer has no end token.
    """

    tasks: ClassVar = {"t5": "T5Seq2SeqLM", "bart": "BartSeq2SeqLM"}
    written = ("decoder_token_ids", "decoder_padding_mask")

    def make_outputs(self, backbone: Any, spec: ModelSpec) -> Any:
        """Logits of the trunk's own output layer, equal to those of KerasHub's task."""
        states = backbone.output["decoder_sequence_output"]
        if getattr(backbone, "tie_embedding_weights", False):
            # A T5 whose output matrix is its embedding divides by the root of the width.
            states = states * backbone.hidden_dim**-0.5
        logits = backbone.token_embedding(states, reverse=True)
        return keras.layers.Activation("linear", dtype="float32", name="logits")(logits)

    def language_rows(self, texts: list[TextRow], prompts: Any) -> LanguageRows:
        """See `kzoo.models.seq2seq_rows.seq2seq_rows`."""
        return seq2seq_rows(self.text, texts, self.end, prompts)

    def begins(self, encoded: EncodedTexts) -> NDArray[np.int64]:
        """Every target begins behind the same opening."""
        return np.full(len(encoded), len(self.text.decoder_opening), "int64")

    def decoding_inputs(
        self, encoded: EncodedTexts, rows: NDArray[np.int64], length: int
    ) -> dict[str, Any]:
        """Sources as they are, and a decoder that has its opening only."""
        inputs = self.text.pad(encoded, rows, int(encoded.lengths[rows].max(initial=1)))
        opening = self.text.decoder_opening
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
        stop: str | None = None,
    ) -> list[str]:
        """Writes a target for each source.

        Args:
            sources: n texts.
            max_new_tokens: At most so many tokens each.
            sampler: `"greedy"`, `"top_k"`, `"top_p"`, `"beam"`, ... or a `keras_hub.samplers`
                object.
            batch_size: Sources at a time. Default: the recipe's.
            stop: Text of a token to stop at beside the end token.

        Returns:
            n targets.

        Raises:
            InputError: No sources, or more new tokens than `max_tokens` has room for.
        """
        return self.complete(sources, "sources", max_new_tokens, sampler, batch_size, stop)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.predict`, on prepared inputs.

        Raises:
            InputError: Raw texts: logits of targets of different lengths make no array.
        """
        if self.is_text(x):
            raise InputError(
                "predict() takes no raw texts here. Targets: model.generate(sources); logits of "
                "pairs: model.predict(model.prepare(pairs, batch_size=len(pairs)))."
            )
        return super().predict(x, *args, **kwargs)
