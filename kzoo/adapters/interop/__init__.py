"""Adapters of other libraries: HF PEFT and AdapterHub, read and written without torch."""

from kzoo.adapters.interop.adapterhub_reader import read_adapterhub
from kzoo.adapters.interop.adapterhub_writer import write_adapterhub
from kzoo.adapters.interop.folders import InteropWarning
from kzoo.adapters.interop.peft_reader import Imported, read_peft
from kzoo.adapters.interop.peft_writer import write_peft

__all__ = [
    "Imported",
    "InteropWarning",
    "read_adapterhub",
    "read_peft",
    "write_adapterhub",
    "write_peft",
]
