"""Fusion layers: they mix token vectors with something else, all with one calling convention.

Attributes load on first use, so that importing the package costs no TensorFlow import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kzoo.registry import Registry
from retrieval_index.lazy import lazy

if TYPE_CHECKING:
    from kzoo.fusion.fusion import Fusion
    from kzoo.fusion.gated_cross_attention import GatedCrossAttention

FUSIONS: Registry[Any] = Registry("fusion", "kzoo.fusion", singular="fusion layer")

__getattr__, __dir__, __all__ = lazy(__name__, "FUSIONS")
