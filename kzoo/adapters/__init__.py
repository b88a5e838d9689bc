"""Adapters: small trained layers inside a frozen trunk.

`methods/` holds configurations and parameter counts, `layers/` the Keras layers in files of the
same names, so that configurations can be read and counted without importing TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kzoo.adapters.config import AdapterConfig, list_methods, parse_adapter
from retrieval_index.lazy import lazy

if TYPE_CHECKING:  # imports Keras
    from kzoo.adapters.as_lora import add_as_lora
    from kzoo.adapters.rank_allocator import RankAllocator

__getattr__, __dir__, __all__ = lazy(__name__, "AdapterConfig", "list_methods", "parse_adapter")
