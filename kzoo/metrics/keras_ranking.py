"""Scores of ranked candidates as Keras metrics: a row is a query with all of its candidates."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def ranks(relevance: Any, scores: Any) -> Any:
    """The place of each candidate by score, highest first.

    Among equal scores the less relevant stands first, as in `kzoo.metrics.ranking_scores`.

    Args:
        relevance: float (n, k).
        scores: float (n, k).

    Returns:
        int32 (n, k), from 0.
    """
    mine, other = scores[:, :, None], scores[:, None, :]
    gain, others = relevance[:, :, None], relevance[:, None, :]
    number = ops.arange(scores.shape[1])
    earlier = (others < gain) | ((others == gain) & (number[None, None, :] < number[None, :, None]))
    return ops.sum(ops.cast((other > mine) | ((other == mine) & earlier), "int32"), axis=-1)


class _Ranked(keras.metrics.Mean):  # type: ignore[misc]
    """The mean over queries of a measure; NaN stands for a candidate that a query does not have."""

    def __init__(self, k: int, name: str, dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.k = k

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch: float (n, candidates) relevances and scores, weights (n,) of queries."""
        scores = ops.cast(y_pred, "float32")
        relevance = ops.reshape(ops.cast(y_true, "float32"), ops.shape(scores))
        there = ops.logical_not(ops.isnan(relevance))
        # What is not there comes last, and adds nothing.
        relevance = ops.where(there, relevance, 0.0)
        scores = ops.where(there, scores, float("-inf"))
        super().update_state(self.measure(relevance, scores), sample_weight)

    def measure(self, relevance: Any, scores: Any) -> Any:
        """float (n,)."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {"name": self.name, "dtype": self.dtype, "k": self.k}


@keras.saving.register_keras_serializable(package="kzoo")
class NDCG(_Ranked):
    """Normalised discounted cumulative gain, as `kzoo.metrics.ranking_scores` has it.

    ``sum_i gain_i / log2(place_i + 1)`` over the first k places, over that of the best order; the
    gain is the relevance itself (Järvelin and Kekäläinen 2002). A query without a relevant
    candidate counts as 0, as in trec_eval.

    Args:
        k: Places that count. Default 10.
        name: Name in the logs. Default ``ndcg@K``.
        dtype: Dtype of the result.
    """

    def __init__(self, k: int = 10, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(k, name or f"ndcg@{k}", dtype)

    def measure(self, relevance: Any, scores: Any) -> Any:
        """See `_Ranked`."""
        best = self._gain(relevance, ranks(-relevance, relevance))
        found = self._gain(relevance, ranks(relevance, scores))
        return ops.divide_no_nan(found, best)

    def _gain(self, relevance: Any, places: Any) -> Any:
        discount = ops.log(2.0) / ops.log(ops.cast(places, "float32") + 2.0)
        return ops.sum(ops.where(places < self.k, relevance * discount, 0.0), axis=-1)


@keras.saving.register_keras_serializable(package="kzoo")
class ReciprocalRank(_Ranked):
    """Mean over queries of one over the place of the first relevant candidate (MRR).

    0 where there is none among the first k.

    Args:
        k: Places that count. Default 10.
        relevant: The least relevance of a relevant candidate. Default 1, as in trec_eval.
        name: Name in the logs. Default ``mrr@K``.
        dtype: Dtype of the result.
    """

    def __init__(
        self, k: int = 10, relevant: float = 1.0, name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(k, name or f"mrr@{k}", dtype)
        self.relevant = relevant

    def measure(self, relevance: Any, scores: Any) -> Any:
        """See `_Ranked`."""
        places = ops.cast(ranks(relevance, scores), "float32") + 1.0
        counts = (relevance >= self.relevant) & (places <= self.k)
        return ops.max(ops.where(counts, 1.0 / places, 0.0), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {**super().get_config(), "relevant": self.relevant}
