"""Which documents are taken into a segment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from retrieval_index.building.known import Known
from retrieval_index.corpus.document import Document, Entry
from retrieval_index.corpus.problem_log import ProblemLog
from retrieval_index.progress import BuildProgress
from retrieval_index.storage.document_writer import DocumentWriter

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
        known: Known | None,
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
