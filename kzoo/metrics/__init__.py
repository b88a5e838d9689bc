"""Metrics: plain functions of arrays, tags and answers, and Keras metrics.

What needs more than NumPy loads on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from kzoo.metrics.arrays import (
    accuracy,
    binary_f1,
    confusion_matrix,
    macro_f1,
    pearson,
    spearman,
)
from kzoo.metrics.entities import entity_scores  # not `entities`: it would hide the module
from kzoo.metrics.spans import answer_f1, answer_scores, normalize_answer
from kzoo.metrics.thresholds import best_thresholds

if TYPE_CHECKING:
    from kzoo.metrics.keras_label_sets import LabelRankingPrecision, LabelSetF1
    from kzoo.metrics.keras_macro_f1 import MacroF1
    from kzoo.metrics.keras_ratings import QuadraticKappa, RatingAccuracy, RatingError
    from kzoo.metrics.ranking import ranking_scores

__all__ = [
    "LabelRankingPrecision",
    "LabelSetF1",
    "MacroF1",
    "QuadraticKappa",
    "RatingAccuracy",
    "RatingError",
    "accuracy",
    "answer_f1",
    "answer_scores",
    "best_thresholds",
    "binary_f1",
    "confusion_matrix",
    "entity_scores",
    "macro_f1",
    "normalize_answer",
    "pearson",
    "ranking_scores",
    "spearman",
]

_WHERE = {
    "LabelRankingPrecision": "kzoo.metrics.keras_label_sets",
    "LabelSetF1": "kzoo.metrics.keras_label_sets",
    "MacroF1": "kzoo.metrics.keras_macro_f1",
    "QuadraticKappa": "kzoo.metrics.keras_ratings",
    "RatingAccuracy": "kzoo.metrics.keras_ratings",
    "RatingError": "kzoo.metrics.keras_ratings",
    "ranking_scores": "kzoo.metrics.ranking",
}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'kzoo.metrics' has no attribute {name!r}")
