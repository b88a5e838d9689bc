"""A docstring and where it comes from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class RawDoc:
    """A docstring.

    Args:
        name: qualified name, such as ``"pathlib.Path.open"``.
        module: public module, such as ``"pathlib"``.
        kind: ``"module"``, ``"class"`` or ``"function"`` (methods and properties included).
        text: the docstring, indentation removed.
    """

    name: str
    module: str
    kind: str
    text: str

    @property
    def key(self) -> str:
        """What two copies of one text have in common: letters and digits, not layout or case."""
        return "".join(ch for ch in self.text.lower() if ch.isalnum())

    @property
    def split(self) -> str:
        """``train`` (70 %), ``validation`` (10 %) or ``test`` (20 %), by a hash of the name."""
        place = int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:8], "big") % 100
        return "test" if place < 20 else "validation" if place < 30 else "train"
