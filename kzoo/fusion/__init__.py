"""Fusion layers: they mix token vectors with something else, all with one calling convention.

Attributes load on first use, so that importing the package costs no TensorFlow import.
"""

from __future__ import annotations

import importlib
from typing import Any

from kzoo.registry import Registry

FUSIONS: Registry[Any] = Registry("fusion", "kzoo.fusion", singular="fusion layer")

_WHERE = {
    "Fusion": "kzoo.fusion.fusion",
    "GatedCrossAttention": "kzoo.fusion.gated_cross_attention",
}

__all__ = ["FUSIONS", *_WHERE]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'kzoo.fusion' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
