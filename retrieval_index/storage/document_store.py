"""Reading the store of documents and chunk offsets."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from retrieval_index.corpus.document import Document
from retrieval_index.errors import CorruptIndexError
from retrieval_index.storage.document_writer import APPLICATION_ID, SCHEMA_VERSION

QUERY_ROWS = 500  # SQLite binds at least 999 values in one statement


class ChunkRow(NamedTuple):
    """A chunk: number of its document, and its characters there."""

    document: int
    start: int
    end: int


class DocumentStore:
    """A finished store, opened for reading only; may be used from several threads.

    Args:
        path: The SQLite file.

    Raises:
        CorruptIndexError: If it is no store of this package.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with self._guarded():
            # The file never changes once it is part of an index, so SQLite need not lock it, and
            # an index on a read-only medium opens.
            uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
            self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
        try:
            identity = (self._one("PRAGMA application_id"), self._one("PRAGMA user_version"))
            if identity != (APPLICATION_ID, SCHEMA_VERSION):
                raise CorruptIndexError(f"{path} is no document store of this version.")
        except CorruptIndexError:
            self.close()
            raise

    def counts(self) -> tuple[int, int]:
        """Returns the number of documents and of chunks."""
        documents = self._one("SELECT count(*) FROM documents")
        return documents, self._one("SELECT count(*) FROM chunks")

    def chunks(self, numbers: Collection[int]) -> dict[int, ChunkRow]:
        """Returns the chunks with these numbers.

        Raises:
            CorruptIndexError: If one is missing.
        """
        sql = 'SELECT number, document, start, "end" FROM chunks WHERE number IN (%s)'
        found = {row[0]: ChunkRow(*row[1:]) for row in self._rows(sql, numbers)}
        self._check_complete("chunks", numbers, found)
        return found

    def documents(self, numbers: Collection[int]) -> dict[int, Document]:
        """Returns the documents with these numbers.

        Raises:
            CorruptIndexError: If one is missing or unreadable.
        """
        sql = "SELECT number, id, text, title, metadata FROM documents WHERE number IN (%s)"
        found = {row[0]: self._document(row[1:]) for row in self._rows(sql, numbers)}
        self._check_complete("documents", numbers, found)
        return found

    def problems(self) -> Iterator[str]:
        """Yields what is wrong with the content, after reading all of it."""
        with self._guarded():
            check = self._connection.execute("PRAGMA integrity_check(3)").fetchall()
        yield from (row[0] for row in check if row[0] != "ok")
        chunks = self.counts()[1]
        if self._one("SELECT coalesce(max(number), -1) FROM chunks") != chunks - 1:
            yield "the chunks are not numbered from 0 without a gap"
        sql = (
            'SELECT c.number, c.start, c."end", d.text FROM chunks c '
            "LEFT JOIN documents d ON d.number = c.document ORDER BY c.number"
        )
        with self._guarded():
            for number, start, end, text in self._connection.execute(sql):
                if text is None:
                    yield f"chunk {number} has no document"
                elif not 0 <= start <= end <= len(text):
                    yield f"chunk {number} [{start}:{end}] lies outside its document"

    def close(self) -> None:
        """Lets go of the file."""
        self._connection.close()

    def _document(self, row: tuple[str, str, str, str]) -> Document:
        identifier, text, title, metadata = row
        try:
            return Document(identifier, text, title, json.loads(metadata))
        except (ValueError, TypeError, RecursionError) as error:
            raise CorruptIndexError(
                f"{self._path}: the metadata of document {identifier!r} is damaged ({error})."
            ) from error

    def _rows(self, sql: str, numbers: Collection[int]) -> Iterator[tuple[Any, ...]]:
        ordered = sorted(numbers)
        for first in range(0, len(ordered), QUERY_ROWS):
            part = ordered[first : first + QUERY_ROWS]
            with self._guarded(), self._lock:
                rows = self._connection.execute(sql % ",".join("?" * len(part)), part).fetchall()
            yield from rows

    def _one(self, sql: str) -> int:
        with self._guarded(), self._lock:
            return int(self._connection.execute(sql).fetchone()[0])

    def _check_complete(self, table: str, wanted: Collection[int], found: dict[int, Any]) -> None:
        missing = next((number for number in wanted if number not in found), None)
        if missing is not None:
            raise CorruptIndexError(f"{self._path}: number {missing} is missing in {table}.")

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise CorruptIndexError(
                f"{self._path} is damaged or no SQLite file ({error}). Build the index again."
            ) from error
