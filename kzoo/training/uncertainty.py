"""Weights of several losses that are learned: each task's uncertainty."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kzoo.errors import InputError
from kzoo.heads.batch_means import TokenMean
from kzoo.heads.regress import ScaledSquaredError


@keras.saving.register_keras_serializable(package="kzoo")
class UncertainLoss(TokenMean):
    """``exp(-s) L + s / 2`` with a learned s, the logarithm of a task's variance.

    Of a squared error ``exp(-s) L / 2 + s / 2``: the negative log-likelihood of a normal
    distribution, but for a constant. Kendall, Gal and Cipolla 2018 (arXiv:1705.07115, eq. 7 and
    10). An uncertain task weighs less, and s / 2 keeps all from becoming uncertain.

    Args:
        loss: The task's own loss.
        log_variance: The variable s, a scalar. None in what was loaded, until a model binds it.
    """

    def __init__(self, loss: Any, log_variance: Any = None, name: str = "uncertain") -> None:
        super().__init__(name=name, reduction=loss.reduction)
        self.loss = loss
        self.log_variance = log_variance
        squared = isinstance(loss, (ScaledSquaredError, keras.losses.MeanSquaredError))
        self.share = 0.5 if squared else 1.0

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """As the task's loss, row by row."""
        s = ops.convert_to_tensor(self.log_variance, "float32")
        return self.share * ops.exp(-s) * self.loss.call(y_true, y_pred) + s / 2

    def get_config(self) -> dict[str, Any]:
        """See Keras; s is a variable of the model."""
        return {"name": self.name, "loss": keras.losses.serialize(self.loss)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> UncertainLoss:
        """See Keras."""
        return cls(**{**config, "loss": keras.losses.deserialize(config["loss"])})


def uncertain(loss: Any, log_variance: Any, output: str) -> UncertainLoss:
    """The loss of an output with a learned weight; one that was loaded gets its variable.

    Raises:
        InputError: It is no `keras.losses.Loss`, which says what a row's loss is.
    """
    if isinstance(loss, UncertainLoss):
        loss = loss.loss
    if not isinstance(loss, keras.losses.Loss):
        raise InputError(
            f"`loss` of `{output}` must be a keras.losses.Loss where `uncertainty` weighs the "
            f"losses. Received: {loss!r}"
        )
    return UncertainLoss(loss, log_variance)
