"""`kzoo.heads.Ordinal`: a rating a row, of ratings that have an order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kzoo.errors import InputError
from kzoo.heads import HEADS
from kzoo.heads.classes import ClassHead
from kzoo.heads.multilabel import KnownCrossentropy
from kzoo.metrics.keras_ratings import QuadraticKappa, RatingAccuracy, RatingError, ranks


@HEADS.register("ordinal")
@keras.saving.register_keras_serializable(package="kzoo")
class Ordinal(ClassHead):
    """Ratings of rows by CORN (Shi, Cao and Raschka 2021, arXiv:2111.08851).

    Outputs float32 logits (batch, K - 1) for K ratings: the k-th says whether a row is above rank
    k, given that it is not below. The probabilities of being above fall with the rank, whatever
    the logits are. The metrics are accuracy, mean absolute error (in ratings where they are
    numbers, else in ranks) and Cohen's kappa with quadratic weights.

    Args:
        num_classes: K. Default: the first `fit` finds the ratings that occur, for each adapter.
        labels: The ratings from the lowest to the highest: numbers, or names, which have no order
            of their own.
        **kwargs: As `kzoo.heads.Head`.
    """

    kind = "ordinal"

    def as_labels(self, labels: Sequence[Any]) -> list[Any]:
        """See `ClassHead`; numbers stay numbers."""
        found = _ratings(np.asarray(labels), None)
        if found.dtype.kind == "U":
            return [str(label) for label in labels]
        if (np.diff(found) < 0).any():
            raise InputError(f"`labels` must rise, from the lowest rating on. Received: {labels}")
        return _plain(found)

    def units_of(self, num_classes: int) -> int:
        """See `ClassHead`."""
        if num_classes < 2:
            raise InputError(f"`num_classes` must be at least 2. Received: {num_classes}")
        return num_classes - 1

    def find(self, column: NDArray[Any], names: Sequence[str] | None) -> list[Any]:
        """See `ClassHead`: the ratings that occur, or all that the data name."""
        found = _ratings(column, names)
        if found.dtype.kind == "U":
            raise InputError(
                f"`y` has ratings such as {str(found[0])!r}, whose order nobody knows. Pass "
                "`labels=[lowest, ..., highest]`."
            )
        distinct = np.unique(found if names is None else _ratings(np.arange(len(names)), names))
        if len(distinct) < 2:
            raise InputError(
                f"`y` has one rating only: {distinct[0]:g} in all {len(column)} rows. A head needs "
                "at least two."
            )
        return _plain(distinct)

    def targets(self, column: NDArray[Any], names: Sequence[str] | None = None) -> NDArray[Any]:
        """Ranks from 0, int32 (n,)."""
        number = self.known_classes()
        labels = self.labels or list(range(number))
        places = {label: rank for rank, label in enumerate(labels)}
        found = _ratings(np.asarray(column), names).tolist()
        for row, rating in enumerate(found):
            if rating not in places:
                raise InputError(
                    f"`y` row {row} is {rating!r}, a rating never seen in training. Ratings of the "
                    f"model: {', '.join(map(str, labels))}. Pass `labels=[...]` with all of them."
                )
        return np.asarray([places[rating] for rating in found], "int32")

    def default_loss(self) -> Any:
        """CORN's."""
        return CORNLoss()

    def default_weighted_metrics(self) -> list[Any]:
        """Accuracy, mean absolute error and quadratic kappa, once the ratings are known."""
        if self.is_open:
            return []
        labels = self.labels or []
        values = [float(v) for v in labels] if not any(isinstance(v, str) for v in labels) else None
        return [RatingAccuracy(), RatingError(values or None), QuadraticKappa(self.known_classes())]

    def probabilities(self, outputs: NDArray[Any]) -> NDArray[np.float32]:
        """float32 (n, K), of each rating, from outputs of `predict`."""
        above = np.cumprod(ops.sigmoid(np.asarray(outputs, "float32")), axis=-1)
        ends = np.pad(above, ((0, 0), (1, 0)), constant_values=1.0)
        found: NDArray[np.float32] = ends - np.pad(above, ((0, 0), (0, 1)))
        return found

    def decode(self, outputs: NDArray[Any]) -> list[Any]:
        """The rating of each row."""
        labels = self.labels or list(range(self.known_classes()))
        return [labels[rank] for rank in np.asarray(ranks(np.asarray(outputs, "float32")))]


@keras.saving.register_keras_serializable(package="kzoo")
class CORNLoss(KnownCrossentropy):
    """The loss of CORN (Shi et al. 2021, arXiv:2111.08851, eq. 4 to 5).

    Task k asks whether a rank is above k, of the rows whose rank is not below k only: a conditional
    training subset. The mean of the cross-entropies over all tasks and their rows.

    Args:
        **kwargs: As `keras.losses.Loss`.
    """

    def __init__(self, name: str = "corn", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """int (batch,) or (batch, 1) ranks, float (batch, K - 1) logits -> (batch,)."""
        rank = ops.reshape(y_true, (-1, 1))
        tasks = ops.arange(y_pred.shape[-1], dtype=rank.dtype)
        asked = ops.where(rank >= tasks, ops.cast(rank > tasks, "int32"), -1)
        return super().call(asked, y_pred)


def _plain(values: NDArray[np.float64]) -> list[int | float]:
    return [int(v) if v == int(v) else float(v) for v in values]


def _ratings(column: NDArray[Any], names: Sequence[str] | None) -> NDArray[Any]:
    """Ratings as numbers where all are, else as strings."""
    if names is not None and column.dtype.kind in "iu":
        column = np.asarray(names, str)[column]
    if column.dtype.kind in "SO":
        values = column.tolist()
        column = np.asarray([v.decode("utf-8") if isinstance(v, bytes) else v for v in values])
    if column.ndim != 1 or column.dtype.kind not in "biufU":
        raise InputError(f"`y` must hold one rating a row. Received: {column[0]!r:.60}")
    if column.dtype.kind == "U":
        try:
            column = column.astype("float64")
        except ValueError:
            return column
    found = column.astype("float64")
    if not np.isfinite(found).all():
        bad = int(np.flatnonzero(~np.isfinite(found))[0])
        raise InputError(f"`y` row {bad} is {found[bad]}, and no rating.")
    return found
