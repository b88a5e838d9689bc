"""`kzoo.heads.Rank`: how relevant passages are to a query, read together (a cross-encoder)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kzoo.errors import InputError
from kzoo.heads import HEADS
from kzoo.heads.batch_means import rows_over
from kzoo.heads.candidates import ABSENT, CandidateHead
from kzoo.heads.classes import loss_options
from kzoo.metrics.keras_ranking import NDCG, ReciprocalRank

# Losses by name, and the options of each with their defaults.
_LOSSES: dict[str, dict[str, float]] = {
    "cross_entropy": {},
    "squared_error": {},
    "ranknet": {},
    "margin": {"margin": 1.0},
    "listnet": {},
    "softmax": {},
}
_POINTWISE = ("cross_entropy", "squared_error")


@HEADS.register("rank")
@keras.saving.register_keras_serializable(package="kzoo")
class Rank(CandidateHead):
    """Scores passages for a query; outputs float32 (batch, k), -1e9 where a row has fewer.

    A row is a query with up to k passages (see `kzoo.ChoicesInput`), its labels the relevance of
    each: 0 for none, more for more. All passages of a query that are learned together stand in one
    row, so that they are in one batch. The scores of passages do not depend on each other: a model
    of any k ranks any number of them (`kzoo.Reranker`).

    The metrics are nDCG and MRR over the first ten places within each row; with k = 1 Spearman's
    rank correlation of all scores, after `evaluate`.

    Args:
        k: As `CandidateHead`.
        loss: Of a passage by itself: `cross_entropy` (default; labels from 0 to 1 are
            probabilities), `squared_error`. Of pairs of a row's passages with different labels:
            `ranknet`, `margin`. Of a row: `listnet`, `softmax`. See `RankingLoss`.
        margin: Of the loss `margin`. Default 1.
        relevant: The least label of a relevant passage, for MRR. Default 1.
        **kwargs: As `kzoo.heads.Head`.
    """

    kind = "rank"
    target_dtype = "float32"

    def __init__(
        self,
        k: int | None = None,
        loss: str = "cross_entropy",
        margin: float | None = None,
        relevant: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(k, **kwargs)
        self.loss_kind = loss  # `loss` is Keras' own name
        self.loss_options = loss_options(loss, _LOSSES, margin=margin)
        self.relevant = relevant

    @property
    def target_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """See `Head`."""
        return (self.units,)

    def targets(self, column: NDArray[Any], names: Sequence[str] | None = None) -> NDArray[Any]:
        """float32 (n, k), NaN where a row has fewer passages."""
        if names is not None:
            raise InputError(
                f"`{self.name}` must be numbers, the relevance of passages. Received: the classes "
                f"{', '.join(names[:5])}"
            )
        found = np.full((len(column), self.units), np.nan, "float32")
        for row, given in enumerate(column):
            try:
                values = np.atleast_1d(np.asarray(given, "float32"))
            except (TypeError, ValueError) as error:
                raise self._bad(row, given, "must be numbers") from error
            if values.ndim != 1 or not 1 <= len(values) <= self.units:
                raise self._bad(row, given, f"must be a label for each of its 1 to {self.k}")
            if not (np.isfinite(values) & (values >= 0)).all():
                raise self._bad(row, given, "must be 0 or more")
            if self.loss_kind == "cross_entropy" and (values > 1).any():
                raise self._bad(
                    row, given, "must be from 0 to 1 for the loss 'cross_entropy' (another: `loss`)"
                )
            found[row, : len(values)] = values
        return found

    def _bad(self, row: int, given: Any, why: str) -> InputError:
        return InputError(
            f"`{self.name}` row {row} {why}: the relevance of its passages. Received: {given!r:.60}"
        )

    def check_candidates(self, targets: NDArray[Any], counts: NDArray[np.int64]) -> None:
        """See `Head`: a label for each passage."""
        given = (~np.isnan(targets)).sum(axis=1)
        if len(bad := np.flatnonzero(given != counts)):
            raise InputError(
                f"`{self.name}` row {bad[0]} has {given[bad[0]]} labels for {counts[bad[0]]} "
                "passages."
            )

    def learn(self, column: NDArray[Any], names: Sequence[str] | None = None) -> None:
        """See `Head`: refuses labels that the loss learns nothing from."""
        labels = self.targets(column, names)
        if self.loss_kind in _POINTWISE:
            if np.nanmin(labels) == np.nanmax(labels):
                raise InputError(
                    f"`{self.name}`: all passages have the label {np.nanmax(labels):g}. There is "
                    "nothing to learn."
                )
        elif (np.nanmin(labels, axis=1) == np.nanmax(labels, axis=1)).all():
            raise InputError(
                f"`{self.name}`: in no row do two passages have different labels, which the loss "
                f"{self.loss_kind!r} compares. Put all passages of a query into one row (`k`), or "
                "pass loss='cross_entropy'."
            )

    def default_loss(self) -> Any:
        """The one of the argument `loss`."""
        return RankingLoss(self.loss_kind, self.loss_options.get("margin", 1.0))

    def default_weighted_metrics(self) -> list[Any]:
        """nDCG@10 and MRR@10, where rows have several passages."""
        return [] if self.units == 1 else [NDCG(10), ReciprocalRank(10, self.relevant)]

    def whole_scores(self, targets: NDArray[Any], outputs: NDArray[Any]) -> dict[str, float]:
        """Spearman's rank correlation, where a row is one passage."""
        if self.units > 1:
            return {}
        from kzoo.metrics import spearman

        return {"spearman": spearman(np.ravel(targets), np.ravel(outputs))}

    def decode(self, outputs: NDArray[Any]) -> NDArray[np.float32]:
        """float32 (n, k), or (n,) with k = 1: scores, NaN where a row has no such passage."""
        values = np.where(self.present(outputs), np.asarray(outputs, "float32"), np.nan)
        return values[:, 0] if self.units == 1 else values

    def get_config(self) -> dict[str, Any]:
        """See `Head`."""
        return {
            **super().get_config(),
            "loss": self.loss_kind,
            **self.loss_options,
            "relevant": self.relevant,
        }


@keras.saving.register_keras_serializable(package="kzoo")
class RankingLoss(keras.losses.Loss):  # type: ignore[misc]
    """Losses of scores s for passages of relevance y; NaN in y where a row has no passage.

    Pointwise, the mean over all passages of a batch:

    - ``cross_entropy``: ``-y log sigmoid(s) - (1 - y) log sigmoid(-s)``.
    - ``squared_error``: ``(s - y)^2``.

    Pairwise, the mean over a row's pairs with ``y_i > y_j``, over the rows that have any:

    - ``ranknet``: ``log(1 + exp(s_j - s_i))`` (Burges et al. 2005).
    - ``margin``: ``max(0, margin - s_i + s_j)``.

    Listwise, the mean over rows:

    - ``listnet``: ``-sum_i softmax(y)_i log softmax(s)_i`` (Cao et al. 2007, top-one).
    - ``softmax``: ``-sum_i y_i / sum(y) log softmax(s)_i`` (Bruch et al. 2019), over the rows that
      have a relevant passage; with one relevant passage a row it is a contrastive loss.

    Args:
        kind: One of these.
        margin: See there. Default 1.
        **kwargs: As `keras.losses.Loss`.
    """

    def __init__(
        self, kind: str, margin: float = 1.0, name: str = "ranking_loss", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        loss_options(kind, _LOSSES)  # refuses others
        self.kind = kind
        self.margin = margin

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """float (batch, k) relevances and scores -> (batch,).

        A row's mean, times rows over rows that count (pointwise: its sum, times rows over passages
        of the batch): the mean of these over the batch is as said above.
        """
        there = ops.logical_not(ops.isnan(y_true))
        y = ops.where(there, y_true, 0.0)
        s = ops.where(there, y_pred, 0.0)  # a number of -1e9 would be squared
        known = ops.cast(there, s.dtype)
        if self.kind in _POINTWISE:
            squared = self.kind == "squared_error"
            values = ops.square(s - y) if squared else ops.softplus(s) - y * s
            return ops.sum(values * known, axis=-1) * rows_over(known)
        if self.kind in ("ranknet", "margin"):
            apart = s[:, :, None] - s[:, None, :]
            pairs = ops.cast(y[:, :, None] > y[:, None, :], s.dtype)
            pairs = pairs * known[:, :, None] * known[:, None, :]
            margins = ops.relu(self.margin - apart)
            values = margins if self.kind == "margin" else ops.softplus(-apart)
            count = ops.sum(pairs, axis=(1, 2))
            found = ops.divide_no_nan(ops.sum(values * pairs, axis=(1, 2)), count)
            return found * rows_over(ops.cast(count > 0, s.dtype))
        log_p = ops.log_softmax(ops.where(there, s, ABSENT), axis=-1)
        if self.kind == "listnet":
            target = ops.softmax(ops.where(there, y, ABSENT), axis=-1)
            return -ops.sum(target * log_p * known, axis=-1)
        total = ops.sum(y, axis=-1, keepdims=True)
        found = -ops.sum(ops.divide_no_nan(y, total) * log_p * known, axis=-1)
        return found * rows_over(ops.cast(total > 0, s.dtype))

    def get_config(self) -> dict[str, Any]:
        """See Keras."""
        return {**super().get_config(), "kind": self.kind, "margin": self.margin}
