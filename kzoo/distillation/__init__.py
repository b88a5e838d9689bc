"""Distillation: losses with the published definitions and a Distiller that trains with them.

Attributes load on first use, so that importing the package costs no TensorFlow import.
"""

from __future__ import annotations

import importlib
from typing import Any

from kzoo.registry import Registry

#: Losses by name, as `Distiller(distillation_losses="soft_target_kl")` takes them.
LOSSES: Registry[Any] = Registry(
    "distillation-losses", "kzoo.distillation", singular="distillation loss"
)

_WHERE = {
    "DistillationError": "kzoo.distillation.errors",
    "Distiller": "kzoo.distillation.distiller",
    "HiddenMSE": "kzoo.distillation.hidden",
    "LogitsMSE": "kzoo.distillation.soft_targets",
    "OutputLoss": "kzoo.distillation.stock",
    "SampleLoss": "kzoo.distillation.base",
    "SoftTargetCrossEntropy": "kzoo.distillation.soft_targets",
    "SoftTargetKL": "kzoo.distillation.soft_targets",
}

__all__ = ["LOSSES", *_WHERE]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'kzoo.distillation' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
