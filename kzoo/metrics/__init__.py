"""Metrics: plain functions of arrays, tags and answers, and Keras metrics; loaded on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval_index.lazy import lazy

if TYPE_CHECKING:
    from kzoo.metrics.arrays import (
        accuracy,
        binary_f1,
        confusion_matrix,
        macro_f1,
        pearson,
        spearman,
    )
    from kzoo.metrics.entities import entity_scores  # not `entities`: the module has that name
    from kzoo.metrics.keras_label_sets import LabelRankingPrecision, LabelSetF1
    from kzoo.metrics.keras_macro_f1 import MacroF1
    from kzoo.metrics.keras_ranking import NDCG, ReciprocalRank
    from kzoo.metrics.keras_ratings import QuadraticKappa, RatingAccuracy, RatingError
    from kzoo.metrics.pairs import pair_scores, reciprocal_rank
    from kzoo.metrics.ranking import ranking_scores
    from kzoo.metrics.spans import answer_f1, answer_scores, normalize_answer
    from kzoo.metrics.thresholds import best_thresholds

__getattr__, __dir__, __all__ = lazy(__name__)
