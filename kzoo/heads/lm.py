"""`kzoo.heads.CausalLM` and `Seq2SeqLM`: the next token, by the trunk's own output matrix."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops
from numpy.typing import NDArray

from kzoo.errors import InputError
from kzoo.heads import HEADS
from kzoo.heads.batch_means import TokenCrossentropy
from kzoo.heads.head import Head
from kzoo.metrics.keras_token_accuracy import TokenAccuracy
from kzoo.reads.language import LanguageInput
from kzoo.trunk.layer import Trunk


class LanguageHead(Head):
    """Predicts the next token; outputs float32 logits (batch, tokens, vocabulary).

    The logits are the trunk's own, equal to those of KerasHub's task; adapters at a tied embedding
    act in them. What is learned comes with the input (`kzoo.reads.language.LanguageInput`).

    Raises:
        InputError: It is not called on what one trunk gives, in a functional graph.
    """

    kind = "lm"
    has_variables = False
    self_labelled = True
    reads_table = True
    target_shape = (None,)
    weight_shape = (None,)

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("dropout", 0.0)
        kwargs.setdefault("pooling", "last")
        super().__init__(autocast=False, **kwargs)

    def make_input(self, trunk: Trunk) -> Any:
        """See `Head`."""
        return LanguageInput(trunk)

    def call(self, x: Any, mask: Any = None, training: bool | None = None) -> Any:
        """See `Head`."""
        trunk = self.followed()
        if trunk is None:
            raise InputError(
                f"The head `{self.name}` needs the output matrix of one trunk: call it on what a "
                "kzoo.Trunk gives, in a functional graph."
            )
        states = self.states(x["tokens"], trunk.backbone)
        return ops.cast(trunk.backbone.token_embedding(states, reverse=True), "float32")

    def states(self, tokens: Any, backbone: Any) -> Any:
        """What goes into the output matrix."""
        return tokens

    @property
    def units(self) -> int:
        """Size of the vocabulary."""
        trunk = self.followed()
        assert trunk is not None, "it was called"
        return int(trunk.vocabulary_size or 0)

    def default_loss(self) -> Any:
        """Cross-entropy, the mean over the tokens that are learned."""
        return TokenCrossentropy()

    def default_weighted_metrics(self) -> list[Any]:
        """Accuracy of the next token, and perplexity."""
        import keras_hub

        return [
            TokenAccuracy(),
            keras_hub.metrics.Perplexity(from_logits=True, name="perplexity"),
        ]

    def decode(self, outputs: NDArray[Any]) -> Any:
        """Refused: logits are no text.

        Raises:
            InputError: Always, with what to do.
        """
        raise InputError("Logits of tokens are no text. Use model.generate(texts).")


@HEADS.register("causal_lm")
@keras.saving.register_keras_serializable(package="kzoo")
class CausalLM(LanguageHead):
    """The next token of a decoder; see `LanguageHead`."""

    kind = "causal_lm"


@HEADS.register("seq2seq_lm")
@keras.saving.register_keras_serializable(package="kzoo")
class Seq2SeqLM(LanguageHead):
    """The next token of an encoder-decoder's target; see `LanguageHead`."""

    kind = "seq2seq_lm"

    def states(self, tokens: Any, backbone: Any) -> Any:
        """See `LanguageHead`."""
        if getattr(backbone, "tie_embedding_weights", False):
            # A T5 whose output matrix is its embedding divides by the root of the width.
            return tokens * backbone.hidden_dim**-0.5
        return tokens
