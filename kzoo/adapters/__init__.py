"""Adapters: small trained layers inside a frozen trunk.

One file per method holds its configuration and its parameter count; `layers/` holds the Keras
layers, so that configurations can be read and counted without importing TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import Any

from kzoo.adapters.config import AdapterConfig, list_methods, parse_adapter

__all__ = ["AdapterConfig", "RankAllocator", "list_methods", "parse_adapter"]

_LAZY = {"RankAllocator": "kzoo.adapters.rank_allocator"}  # these import Keras


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'kzoo.adapters' has no attribute {name!r}")
