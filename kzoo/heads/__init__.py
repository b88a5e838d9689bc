"""Heads: layers that end a model, each with its labels, loss, metrics and decoding.

Attributes load on first use, so that importing the package costs no TensorFlow import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kzoo.registry import Registry
from retrieval_index.lazy import lazy

if TYPE_CHECKING:
    from kzoo.heads.choose import Choose
    from kzoo.heads.classify import Classify
    from kzoo.heads.contrast import Contrast
    from kzoo.heads.crf import CRF
    from kzoo.heads.embed import Embed
    from kzoo.heads.head import Head
    from kzoo.heads.lm import CausalLM, Seq2SeqLM
    from kzoo.heads.masked_lm import MaskedLM
    from kzoo.heads.multilabel import MultiLabel
    from kzoo.heads.ordinal import Ordinal
    from kzoo.heads.rank import Rank
    from kzoo.heads.regress import Regress
    from kzoo.heads.similarity import Similarity
    from kzoo.heads.span import Span
    from kzoo.heads.tag import Tag

HEADS: Registry[Any] = Registry("heads", "kzoo.heads")

__getattr__, __dir__, __all__ = lazy(__name__, "HEADS")
