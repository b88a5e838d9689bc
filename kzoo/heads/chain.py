"""A CRF behind a head: its scores stand in front of the emissions in what the head gives.

So whoever has the outputs (loss, metrics, decoding, another process) has the whole chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kzoo.heads.answers import Answer
from kzoo.heads.batch_means import TokenMean
from kzoo.heads.crf import (
    Parameters,
    allowed_transitions,
    best_chain,
    chain_log_likelihood,
    with_forbidden,
)
from kzoo.metrics.keras_entity_f1 import EntityF1
from kzoo.metrics.keras_token_accuracy import TokenAccuracy


class ChainAnswer(Answer):
    """An output layer with `transitions` (units, units), `start` and `end` (units,)."""

    def _make(self) -> None:
        super()._make()
        units = self.facts["units"]
        self.transitions = self.add_weight((units, units), "zeros", name="transitions")
        self.start = self.add_weight((units,), "zeros", name="start")
        self.end = self.add_weight((units,), "zeros", name="end")

    def packed(self, emissions: Any, scheme: str) -> Any:
        """(batch, units + 2 + length, units): transitions, start and end, then the emissions.

        What the scheme forbids between two tags is forbidden. At the ends nothing is: a window may
        begin within an entity.
        """
        values = [ops.convert_to_tensor(v) for v in (self.transitions, self.start, self.end)]
        if self.facts["labels"] is not None:
            allowed = allowed_transitions(self.facts["labels"], scheme)
            anywhere = np.ones(len(allowed.start), bool)
            values = list(with_forbidden(allowed._replace(start=anywhere, end=anywhere), *values))
        rows = ops.concatenate([values[0], values[1][None], values[2][None]])
        shape = (ops.shape(emissions)[0], *rows.shape)
        return ops.concatenate([ops.broadcast_to(rows[None], shape), emissions], axis=1)


def unpacked(outputs: Any) -> tuple[Parameters, Any]:
    """Transitions, start and end; and the emissions (batch, length, tags)."""
    number = outputs.shape[-1]
    first = outputs[0]
    return (first[:number], first[number], first[number + 1]), outputs[:, number + 2 :]


def best_tags(
    parameters: Parameters, emissions: Any, mask: Any, labels: Sequence[str], scheme: str
) -> Any:
    """int32 (batch, length), the best chains that the scheme allows as a whole; -1 where masked."""
    parameters = with_forbidden(allowed_transitions(labels, scheme), *parameters)
    return best_chain(parameters, emissions, mask)


@keras.saving.register_keras_serializable(package="kzoo")
class ChainLoss(TokenMean):
    """Negative log-likelihood of chains of tags, the mean over their words.

    Args:
        **kwargs: As `TokenMean`.
    """

    def __init__(self, name: str = "chain_loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """float32 (batch, length): a chain's value in equal parts on its words.

        Args:
            y_true: int (batch, length), below 0 where no word begins.
            y_pred: See `ChainAnswer.packed`.
        """
        parameters, emissions = unpacked(y_pred)
        words = y_true >= 0
        found = chain_log_likelihood(parameters, emissions, y_true, words)
        count = ops.cast(words, found.dtype)
        number = ops.maximum(ops.sum(count, axis=1, keepdims=True), 1)
        return -found[:, None] * count / number


class _OfChain:
    """Gives a metric the best tags, as one-hot rows, for the outputs of a chain."""

    labels: list[str]
    scheme: str

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch; see the other base."""
        parameters, emissions = unpacked(y_pred)
        tags = best_tags(parameters, emissions, y_true >= 0, self.labels, self.scheme)
        hot = ops.one_hot(ops.maximum(tags, 0), len(self.labels))
        super().update_state(y_true, hot, sample_weight)  # type: ignore[misc]


@keras.saving.register_keras_serializable(package="kzoo")
class ChainEntityF1(_OfChain, EntityF1):
    """`EntityF1` of the best chains."""


@keras.saving.register_keras_serializable(package="kzoo")
class ChainAccuracy(_OfChain, TokenAccuracy):
    """`TokenAccuracy` of the best chains.

    Args:
        labels: The tags.
        scheme: Their scheme.
        **kwargs: As `TokenAccuracy`.
    """

    def __init__(self, labels: Sequence[str], scheme: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.labels, self.scheme = list(labels), scheme

    def get_config(self) -> dict[str, Any]:
        """See Keras."""
        return {**super().get_config(), "labels": self.labels, "scheme": self.scheme}
