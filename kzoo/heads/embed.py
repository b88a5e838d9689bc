"""`kzoo.heads.Embed`: a vector a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kzoo.errors import InputError
from kzoo.heads import HEADS
from kzoo.heads.head import Head
from kzoo.heads.pooling import pool


@HEADS.register("embed")
@keras.saving.register_keras_serializable(package="kzoo")
class Embed(Head):
    """Sentence vectors: outputs float32 (batch, width), pooled token vectors. No variables.

    Args:
        normalize: Whether vectors get length 1. Default: as the trunk's published encoder says,
            else true.
        loss: How vectors learn to be others, which are then the labels (those of a teacher):
            `mse`, the mean of squared differences, or `cosine`, 1 - cosine (Reimers and Gurevych
            2020, arXiv:2004.09813, 2, has the first). Default: none; pass one to `compile`, or let
            vectors meet in a head that has one (`Contrast`, `Similarity`).
        **kwargs: As `kzoo.heads.Head`; `dropout` is 0 by default.

    Raises:
        InputError: An unknown loss.
    """

    kind = "embed"
    has_variables = False
    target_dtype = "float32"

    def __init__(
        self, normalize: bool | None = None, loss: str | None = None, **kwargs: Any
    ) -> None:
        kwargs.setdefault("dropout", 0.0)
        super().__init__(**kwargs)
        if loss not in (None, "mse", "cosine"):
            raise InputError(f"`loss` must be 'mse', 'cosine' or None. Received: {loss!r}")
        self.normalize = normalize
        self.learned_by = loss

    def build(self, input_shape: Any) -> None:
        """See `Head`."""
        super().build(input_shape)
        if self.learned_by is not None:
            self.target_shape = (self.width,)  # type: ignore[misc]

    def call(self, x: Any, mask: Any = None, training: bool | None = None) -> Any:
        """See `Head`."""
        if self.normalize is None:
            trunk = self.followed()
            self.normalize = True if trunk is None else trunk.normalize
        vectors = ops.cast(pool(x, self.pooling or "mean", mask), "float32")
        vectors = self.head_dropout(vectors, training=training)
        return ops.normalize(vectors, axis=-1) if self.normalize else vectors

    @property
    def units(self) -> int:
        """Width of the vectors."""
        return self.width

    def targets(self, column: NDArray[Any], names: Sequence[str] | None = None) -> NDArray[Any]:
        """float32 (n, ...); with a loss of the head's own (n, width).

        Raises:
            InputError: Vectors of another width, or numbers that are not finite.
        """
        if self.learned_by is None:
            return super().targets(column, names)
        rows = [np.asarray(row, "float32") for row in column]
        for number, row in enumerate(rows):
            if row.shape != (self.width,) or not np.isfinite(row).all():
                raise InputError(
                    f"`{self.name}` row {number} must be {self.width} finite numbers, the width of "
                    f"the vectors. Received shape: {row.shape}"
                )
        return np.stack(rows)

    def default_loss(self) -> Any:
        """See the class.

        Raises:
            InputError: There is none, with what to do.
        """
        if self.learned_by == "mse":
            return keras.losses.MeanSquaredError()
        if self.learned_by == "cosine":
            return CosineDistance()
        raise InputError(
            f"`loss`: the head `{self.name}` gives vectors and has no loss of its own. Pass one to "
            "compile; give it `loss='mse'` and vectors as labels; or let vectors meet in a head "
            "that has one (kzoo.heads.Contrast, kzoo.heads.Similarity)."
        )

    def get_config(self) -> dict[str, Any]:
        """See `Head`."""
        return {**super().get_config(), "normalize": self.normalize, "loss": self.learned_by}


@keras.saving.register_keras_serializable(package="kzoo")
class CosineDistance(keras.losses.Loss):  # type: ignore[misc]
    """1 - cosine of two vectors; Keras' own `CosineSimilarity` is the negative cosine."""

    def __init__(self, name: str = "cosine_distance", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """(batch,)."""
        unit = ops.normalize(y_true, axis=-1) * ops.normalize(y_pred, axis=-1)
        return 1 - ops.sum(unit, axis=-1)
