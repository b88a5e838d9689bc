"""Adapters of other libraries, read and written without torch: a folder for each format.

A format registers its functions with `kzoo.adapters.formats.FORMATS`, where the manager finds
them; `read_*` and `write_*` need no model.
"""

from __future__ import annotations

import importlib
from typing import Any

_WHERE = {
    "Imported": "kzoo.interop.models",
    "InteropWarning": "kzoo.interop.files",
    "read_adapterhub": "kzoo.interop.adapterhub.folders",
    "read_peft": "kzoo.interop.peft.reader",
    "write_adapterhub": "kzoo.interop.adapterhub.folders",
    "write_peft": "kzoo.interop.peft.writer",
}

__all__ = [*_WHERE]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'kzoo.interop' has no attribute {name!r}")
