"""`kzoo.heads.Similarity`: how alike two texts are, as the cosine of their vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kzoo.errors import InputError
from kzoo.heads import HEADS
from kzoo.heads.contrast import OnVectors
from kzoo.heads.regress import Regress, ScaledSquaredError


@HEADS.register("similarity")
@keras.saving.register_keras_serializable(package="kzoo")
class Similarity(OnVectors, Regress):
    """Cosines of two vectors that learn scores; outputs float32 (batch, 1), cosine times `highest`.

    The loss is the squared error between cosine and score / `highest` (Reimers and Gurevych 2019,
    arXiv:1908.10084, 3; sentence-transformers' CosineSimilarityLoss).

    Args:
        highest: The score of texts that mean the same, such as 5 for STS. Default 1.
        columns: See `OnVectors`.
        **kwargs: As `OnVectors`.

    Raises:
        InputError: `highest` is not positive.
    """

    kind = "similarity"

    def __init__(
        self,
        highest: float = 1.0,
        columns: Sequence[str] = ("sentence1", "sentence2"),
        **kwargs: Any,
    ) -> None:
        super().__init__(columns=columns, **kwargs)
        if highest <= 0:
            raise InputError(f"`highest` must be more than 0. Received: {highest}")
        self.highest = float(highest)

    def build(self, input_shape: Any) -> None:
        """See `OnVectors`.

        Raises:
            InputError: There are more than two vectors.
        """
        super().build(input_shape)
        if self.several != 2:
            raise InputError(
                f"The head `{self.name}` compares two vectors. Received: {self.several}"
            )

    def call(self, x: Any, mask: Any = None, training: bool | None = None) -> Any:
        """float32 (batch, 1); see `OnVectors`."""
        unit = ops.normalize(super().call(x, mask, training), axis=-1)
        return self.highest * ops.sum(unit[:, 0] * unit[:, 1], axis=-1, keepdims=True)

    @property
    def units(self) -> int:
        """1."""
        return 1

    def learn(self, column: NDArray[Any], names: Sequence[str] | None = None) -> None:
        """See `Head`: nothing, but scores that no cosine can reach are refused.

        Raises:
            InputError: A score above `highest`, or below its negative.
        """
        values = self.targets(column)
        beyond = np.flatnonzero(np.abs(values) > self.highest * (1 + 1e-6))
        if len(beyond):
            raise InputError(
                f"`{self.name}` row {beyond[0]} is {values[beyond[0]]:g}; scores must be from "
                f"{-self.highest:g} to {self.highest:g}. Pass `highest=` to the head, the score of "
                "texts that mean the same."
            )

    def default_loss(self) -> Any:
        """See the class."""
        return ScaledSquaredError([self.highest])

    def get_config(self) -> dict[str, Any]:
        """See `Head`."""
        config = {**super().get_config(), "highest": self.highest}
        config.pop("num_targets")
        return config
