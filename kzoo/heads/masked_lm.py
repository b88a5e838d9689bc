"""`kzoo.heads.MaskedLM`: hidden tokens, by the trunk's own embedding matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from kzoo.backbones.architecture import activation_function
from kzoo.errors import InputError
from kzoo.heads import HEADS
from kzoo.heads.answers import BARE, Answer, row_numbers
from kzoo.heads.lm import LanguageHead
from kzoo.reads.masked import MaskedInput
from kzoo.trunk.layer import Trunk


@HEADS.register("masked_lm")
@keras.saving.register_keras_serializable(package="kzoo")
class MaskedLM(LanguageHead):
    """Predicts hidden tokens of an encoder; outputs float32 logits (batch, tokens, vocabulary).

    A dense layer, activation and norm, then the trunk's token embedding as output matrix and a
    bias, as in BERT, RoBERTa and DistilBERT (in ALBERT the dense layer leads to the embedding's
    width); `kzoo.load` reads those of HF's folders and of KerasHub's tasks. What is
    learned comes with the input (`kzoo.reads.masked.MaskedRead`). Each adapter has a copy of the
    head, which begins as that of the bare trunk. The metrics are accuracy and perplexity of the
    hidden tokens.

    Args:
        share: Of the tokens, those that are learned. Default .15.
        **kwargs: As `kzoo.heads.Head`, without `hidden`.

    Raises:
        InputError: It is not called on what one trunk gives, in a functional graph; or rows have
            adapters of their own.
    """

    kind = "masked_lm"
    has_variables = True

    def __init__(self, share: float = 0.15, **kwargs: Any) -> None:
        if kwargs.get("hidden") is not None:
            raise InputError("`hidden` of a head masked_lm must be left out: it has such a layer.")
        super().__init__(**kwargs)
        self.share = share

    def make_input(self, trunk: Trunk) -> Any:
        """See `Head`."""
        return MaskedInput(trunk, share=self.share)

    def first_facts(self) -> dict[str, Any]:
        """See `Head`."""
        trunk = self._one_trunk()
        # RoBERTa's head has this one whatever its blocks have.
        fixed = "gelu" if trunk.family.names.position_offset else trunk.architecture.activation
        epsilon = trunk.architecture.layer_norm_epsilon
        size = trunk.backbone.token_embedding.output_dim
        return {
            "units": trunk.vocabulary_size,
            "activation": fixed,
            "epsilon": epsilon,
            **({"size": size} if size != self.width else {}),
        }

    def make_answer(self, facts: Mapping[str, Any]) -> Answer:
        """See `Head`; further ones begin as the bare trunk's."""
        made = TransformAnswer(facts, self.width, self.answer_seed)
        if BARE in self.answers:
            for variable, own in zip(made.weights, self.answers[BARE].weights, strict=True):
                variable.assign(own)
        return made

    def call(self, x: Any, mask: Any = None, training: bool | None = None) -> Any:
        """See `Head`."""
        trunk = self._one_trunk()
        if row_numbers(self.composition, trunk.sites.ids.value, 1) is not None:
            raise InputError(f"The head `{self.name}` has no answers of single rows' adapters.")
        answer = self.acting()[-1]
        assert isinstance(answer, TransformAnswer), "see make_answer"
        tokens = self.head_dropout(ops.cast(x["tokens"], "float32"), training=training)
        states = answer.transformed(tokens)
        logits = trunk.backbone.token_embedding(states, reverse=True)
        return ops.cast(logits, "float32") + answer.bias

    @property
    def units(self) -> int:
        """Size of the vocabulary."""
        return int(self._one_trunk().vocabulary_size or 0)

    def _one_trunk(self) -> Trunk:
        trunk = self.followed()
        if trunk is None or trunk.family.kind != "encoder":
            raise InputError(
                f"The head `{self.name}` needs the embedding matrix of one encoder: call it on "
                "what a kzoo.Trunk gives, in a functional graph."
            )
        return trunk

    def get_config(self) -> dict[str, Any]:
        """See `Head`."""
        return {**super().get_config(), "share": self.share}


class TransformAnswer(Answer):
    """Dense layer, activation, norm; `bias` (vocabulary,) of the output matrix, which is tied."""

    def _make(self) -> None:
        normal = keras.initializers.RandomNormal(stddev=0.02, seed=self.seed)
        size = self.facts.get("size", self.width)  # of the embedding
        self.kernel = self.add_weight((self.width, size), normal, name="kernel")
        self.dense_bias = self.add_weight((size,), "zeros", name="dense_bias")
        self.gamma = self.add_weight((size,), "ones", name="gamma")
        self.beta = self.add_weight((size,), "zeros", name="beta")
        self.bias = self.add_weight((self.facts["units"],), "zeros", name="bias")

    def transformed(self, x: Any) -> Any:
        """float32 (batch, length, size), what goes into the output matrix."""
        x = activation_function(self.facts["activation"])(
            ops.matmul(x, self.kernel) + self.dense_bias
        )
        x = x - ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(x), axis=-1, keepdims=True)
        return x * ops.rsqrt(variance + self.facts["epsilon"]) * self.gamma + self.beta
