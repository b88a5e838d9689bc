"""Adapters of other libraries, read and written without torch: a folder for each format.

A format registers its functions with `kzoo.adapters.formats.FORMATS`, where the manager finds
them; `read_*` and `write_*` need no model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval_index.lazy import lazy

if TYPE_CHECKING:
    from kzoo.interop.adapterhub.folders import read_adapterhub, write_adapterhub
    from kzoo.interop.files import InteropWarning
    from kzoo.interop.models import Imported
    from kzoo.interop.peft.reader import read_peft
    from kzoo.interop.peft.writer import write_peft

__getattr__, __dir__, __all__ = lazy(__name__)
