"""Which documents are taken into a segment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from retrieval_index.corpus.document import Document, Entry, ProblemLog
from retrieval_index.progress import BuildProgress
from retrieval_index.searching.version import Version
from retrieval_index.storage.document_store import DocumentWriter


class IndexedDocuments:
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


REASONS = {
    "duplicate_id": "the id {id!r} was used before",
    "duplicate_text": "{id!r} has the title and text of a document before it",
    "existing_id": "the index holds a document with the id {id!r} already",
}


class Intake:
    """Takes documents into a store and turns others away.

    Args:
        skip_repeated: Whether a text that came before under another id is turned away.
        store: Receives the documents.
        log: Receives those that are turned away.
        progress: Told about those that are taken.
        known: What is in the index already, if it is added to.

    Attributes:
        repeated_texts: Documents whose text came before under another id.
    """

    def __init__(
        self,
        skip_repeated: bool,
        store: DocumentWriter,
        log: ProblemLog,
        progress: BuildProgress,
        known: IndexedDocuments | None,
    ) -> None:
        self._skip_repeated = skip_repeated
        self._store = store
        self._log = log
        self._progress = progress
        self._known = known
        self.repeated_texts = 0

    def accepted(self, entries: Iterable[Entry]) -> Iterator[Document]:
        """Yields the documents that were taken, in order."""
        for document, where in entries:
            if self._known is not None and self._known.is_unchanged(document):
                continue
            reason = self._reason_against(document)
            if reason is not None:
                self._log.add(reason, where, REASONS[reason].format(id=document.id))
                continue
            if self._known is not None:
                self._known.taken(document)
            self._progress.document()
            yield document

    def _reason_against(self, document: Document) -> str | None:
        """Stores the document, or returns why not."""
        if self._known is not None and self._known.refuses(document):
            return "existing_id"
        if self._known is not None and self._known.is_repeated(document):
            return "duplicate_id"
        repeated = self._store.holds_text(document)
        if repeated and self._skip_repeated:
            self.repeated_texts += 1
            return "duplicate_text"
        if not self._store.add(document):
            return "duplicate_id"
        self.repeated_texts += repeated
        return None
