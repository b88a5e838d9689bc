"""Heads: layers that end a model, each with its labels, loss, metrics and decoding.

Attributes load on first use, so that importing the package costs no TensorFlow import.
"""

from __future__ import annotations

import importlib
from typing import Any

from kzoo.registry import Registry

HEADS: Registry[Any] = Registry("heads", "kzoo.heads")

_WHERE = {
    "CRF": "kzoo.heads.crf",
    "CausalLM": "kzoo.heads.lm",
    "Classify": "kzoo.heads.classify",
    "Embed": "kzoo.heads.embed",
    "Head": "kzoo.heads.head",
    "MultiLabel": "kzoo.heads.multilabel",
    "Ordinal": "kzoo.heads.ordinal",
    "Regress": "kzoo.heads.regress",
    "Seq2SeqLM": "kzoo.heads.lm",
    "Span": "kzoo.heads.span",
    "Tag": "kzoo.heads.tag",
}

__all__ = [*_WHERE, "HEADS"]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'kzoo.heads' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
