"""What is in an index already, asked about each document that is added."""

from __future__ import annotations

from retrieval_index.corpus.document import Document
from retrieval_index.searching.version import Version


class Known:
    """Decides about documents whose id is in the index.

    Args:
        version: The version that is added to.
        replace: Whether new documents take the place of old ones, or are turned away.

    Attributes:
        dead: Segment -> numbers of the documents that are replaced.
        replaced: How many those are.
        unchanged: Documents that the index holds with the same content.
    """

    def __init__(self, version: Version, replace: bool) -> None:
        self._version = version
        self._replace = replace
        self.dead: dict[int, set[int]] = {}
        self.replaced = 0
        self.unchanged = 0
        self._same: set[tuple[int, int]] = set()

    def refuses(self, document: Document) -> bool:
        """Returns whether a document is turned away because its id is there."""
        return not self._replace and self._place(document) is not None

    def is_unchanged(self, document: Document) -> bool:
        """Returns whether the very same document is there, and counts it."""
        place = self._place(document) if self._replace else None
        if place is None or place[1] in self.dead.get(place[0], ()) or place in self._same:
            return False
        old = self._version.segments[place[0]].document(place[1])
        same = (old.title, old.text) == (document.title, document.text)
        if same and dict(old.metadata) == dict(document.metadata):
            self.unchanged += 1
            self._same.add(place)
            return True
        return False

    def is_repeated(self, document: Document) -> bool:
        """Returns whether a document comes after one of its id that was found unchanged."""
        return bool(self._same) and self._place(document) in self._same

    def taken(self, document: Document) -> None:
        """Notes that a document was taken, and so replaces the one of its id."""
        place = self._place(document)
        if place is not None:
            self.dead.setdefault(place[0], set()).add(place[1])
            self.replaced += 1

    def _place(self, document: Document) -> tuple[int, int] | None:
        return self._version.find([document.id]).get(document.id)
