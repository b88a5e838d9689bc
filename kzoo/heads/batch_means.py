"""Losses whose mean is over something else than rows: tokens, known labels."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kzoo.strategy import mean_over_replicas


class TokenMean(keras.losses.Loss):  # type: ignore[misc]
    """The mean by weight over the tokens of a batch, under a strategy those of all replicas.

    The usual mean would count the padding of a batch and differ from batch to batch; Keras'
    `mean_with_sample_weight` divides by the tokens of a replica, however few it has.

    Args:
        **kwargs: As `keras.losses.Loss`; `reduction` is `mean_with_sample_weight` by default.
    """

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("reduction", "mean_with_sample_weight")
        super().__init__(**kwargs)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """See Keras."""
        mean = super().__call__(y_true, y_pred, sample_weight)
        if sample_weight is None or self.reduction != "mean_with_sample_weight":
            return mean
        own = ops.sum(ops.cast(sample_weight, mean.dtype))
        return mean * ops.divide_no_nan(own, mean_over_replicas(own))


@keras.saving.register_keras_serializable(package="kzoo")
class TokenCrossentropy(TokenMean, keras.losses.SparseCategoricalCrossentropy):  # type: ignore[misc]
    """Cross-entropy of logits (batch, length, classes), the mean over the tokens by weight.

    Args:
        **kwargs: As `keras.losses.SparseCategoricalCrossentropy`; `from_logits` is true by default.
    """

    def __init__(self, name: str = "token_crossentropy", **kwargs: Any) -> None:
        super().__init__(name=name, **{"from_logits": True, **kwargs})


def rows_over(counts: Any) -> Any:
    """Rows of a batch over what counts in it, with replicas in mind: see `mean_over_replicas`.

    Args:
        counts: float (batch, ...), what each row has.
    """
    rows = ops.cast(ops.shape(counts)[0], counts.dtype)
    return ops.divide_no_nan(rows, mean_over_replicas(ops.sum(counts)))
