"""Distillation: losses with the published definitions and a Distiller that trains with them.

Attributes load on first use, so that importing the package costs no TensorFlow import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kzoo.registry import Registry
from retrieval_index.lazy import lazy

if TYPE_CHECKING:
    from kzoo.distillation.base import SampleLoss
    from kzoo.distillation.distiller import Distiller
    from kzoo.distillation.losses import HiddenMSE, LogitsMSE, SoftTargetCrossEntropy, SoftTargetKL
    from kzoo.distillation.stock import OutputLoss
    from kzoo.errors import DistillationError

#: Losses by name, as `Distiller(distillation_losses="soft_target_kl")` takes them.
LOSSES: Registry[Any] = Registry(
    "distillation-losses", "kzoo.distillation", singular="distillation loss"
)

__getattr__, __dir__, __all__ = lazy(__name__, "LOSSES")
