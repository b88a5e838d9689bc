"""Reads: raw columns in, the tensors of a model's inputs out.

Attributes load on first use, so that importing the package costs no TensorFlow import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kzoo.errors import InputError
from kzoo.registry import Registry
from retrieval_index.lazy import lazy

if TYPE_CHECKING:
    from kzoo.reads.arrays import ArrayInput
    from kzoo.reads.choices import ChoicesInput
    from kzoo.reads.images import ImageInput
    from kzoo.reads.masked import MaskedInput
    from kzoo.reads.read import Read
    from kzoo.reads.text import TextInput
    from kzoo.reads.windows import WindowsInput, WordsInput

READS: Registry[Any] = Registry("reads", "kzoo.reads", error=InputError)

__getattr__, __dir__, __all__ = lazy(__name__, "READS")
