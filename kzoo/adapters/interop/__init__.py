"""Adapters of other libraries: HF PEFT folders, read and written without torch."""

from kzoo.adapters.interop.folders import InteropWarning
from kzoo.adapters.interop.peft_reader import Imported, read_peft
from kzoo.adapters.interop.peft_writer import write_peft

__all__ = ["Imported", "InteropWarning", "read_peft", "write_peft"]
