"""Any Python iterable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from retrieval_index.corpus.document import Entry
from retrieval_index.corpus.problem_log import ProblemLog
from retrieval_index.corpus.records import to_document


@dataclass(frozen=True, slots=True)
class ItemsCorpus:
    """Documents, mappings, `(id, text)` pairs or plain texts, taken one at a time."""

    items: Iterable[object]

    @property
    def description(self) -> str:
        """What is read, for reports."""
        return f"items of a {type(self.items).__name__}"

    def read(self, log: ProblemLog) -> Iterator[Entry]:
        """Yields the documents; unusable items go to the log with their number, from 1.

        Raises:
            CorpusError: If an item is unusable and the log is strict.
        """
        for number, item in enumerate(self.items, start=1):
            where = f"item {number}"
            document = to_document(item, where, log)
            if document is not None:
                yield Entry(document, where)
