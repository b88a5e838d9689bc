"""Metrics: plain functions of numpy arrays, and a Keras metric that loads Keras on first use."""

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
from kzoo.metrics.entities import entities, entity_scores

if TYPE_CHECKING:
    from kzoo.metrics.keras_macro_f1 import MacroF1

__all__ = [
    "MacroF1",
    "accuracy",
    "binary_f1",
    "confusion_matrix",
    "entities",
    "entity_scores",
    "macro_f1",
    "pearson",
    "spearman",
]


def __getattr__(name: str) -> Any:
    if name == "MacroF1":
        return importlib.import_module("kzoo.metrics.keras_macro_f1").MacroF1
    raise AttributeError(f"module 'kzoo.metrics' has no attribute {name!r}")
