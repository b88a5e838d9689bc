"""The unit a corpus is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a corpus.

    Attributes:
        id: Unique name; "" asks for `derived_id(title, text)`.
        text: Body; chunk offsets count its characters.
        title: Encoded together with every chunk, but no part of the offsets.
        metadata: JSON-ready data, returned with each hit.
    """

    id: str
    text: str
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> bytes:
        """16 bytes of BLAKE2b over title and text, by which the same text is found again.

        Neither id nor metadata count. The length of the title goes first, so that no two different
        pairs give the same bytes.
        """
        title = self.title.encode("utf-8", "surrogatepass")
        state = hashlib.blake2b(len(title).to_bytes(8, "little"), digest_size=16)
        state.update(title)
        state.update(self.text.encode("utf-8", "surrogatepass"))
        return state.digest()


class Entry(NamedTuple):
    """A document and the place it was read from, for messages."""

    document: Document
    where: str


def derived_id(title: str, text: str) -> str:
    """Returns the id of a document that has none: 16 hex digits of the SHA-1 of its title and text.

    The same text always gets the same id, so a rebuilt index keeps its ids and a repeated text
    without an id is seen as the duplicate it is.
    """
    return hashlib.sha1(f"{title}\n{text}".encode(), usedforsecurity=False).hexdigest()[:16]
