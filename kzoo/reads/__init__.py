"""Reads: raw columns in, the tensors of a model's inputs out.

Attributes load on first use, so that importing the package costs no TensorFlow import.
"""

from __future__ import annotations

import importlib
from typing import Any

from kzoo.errors import InputError
from kzoo.registry import Registry

READS: Registry[Any] = Registry("reads", "kzoo.reads", error=InputError)

_WHERE = {
    "ArrayInput": "kzoo.reads.arrays",
    "ImageInput": "kzoo.reads.images",
    "Read": "kzoo.reads.read",
    "TextInput": "kzoo.reads.text",
    "WindowsInput": "kzoo.reads.windows",
    "WordsInput": "kzoo.reads.windows",
}

__all__ = [*_WHERE, "READS"]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'kzoo.reads' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
