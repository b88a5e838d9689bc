"""Reading the store of documents."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_index.corpus.document import Document
from retrieval_index.errors import CorruptIndexError
from retrieval_index.storage.document_writer import APPLICATION_ID, SCHEMA_VERSION

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from retrieval_index.filters.filter import Filter

QUERY_ROWS = 500  # SQLite binds at least 999 values in one statement
STREAM_ROWS = 64


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

    def count(self) -> int:
        """Returns the number of documents."""
        return self._one("SELECT count(*) FROM documents")

    def documents(self, numbers: Collection[int]) -> dict[int, Document]:
        """Returns the documents with these numbers.

        Raises:
            CorruptIndexError: If one is missing or unreadable.
        """
        sql = "SELECT number, id, text, title, metadata FROM documents WHERE number IN (%s)"
        found = {row[0]: self._document(row[1:]) for row in self._rows(sql, sorted(numbers))}
        missing = next((number for number in numbers if number not in found), None)
        if missing is not None:
            raise CorruptIndexError(f"{self._path}: number {missing} is missing in documents.")
        return found

    def headings(self, numbers: Collection[int]) -> dict[int, str]:
        """Returns the headings with these numbers; -1 is "".

        Raises:
            CorruptIndexError: If one is missing.
        """
        sql = "SELECT number, text FROM headings WHERE number IN (%s)"
        found: dict[int, str] = dict(self._rows(sql, sorted(numbers)))
        found[-1] = ""
        missing = next((number for number in numbers if number not in found), None)
        if missing is not None:
            raise CorruptIndexError(f"{self._path}: number {missing} is missing in headings.")
        return found

    def numbers(self, ids: Collection[str]) -> dict[str, int]:
        """Returns the number of each of these ids that is here."""
        sql = "SELECT id, number FROM documents WHERE id IN (%s)"
        return dict(self._rows(sql, list(ids)))

    def digest(self, number: int) -> bytes:
        """Returns the digest of a document's title and text."""
        sql = "SELECT digest FROM documents WHERE number = ?"
        with self._guarded(), self._lock:
            return bytes(self._connection.execute(sql, (number,)).fetchone()[0])

    def holds_text(self, digest: bytes) -> int | None:
        """Returns the number of a document with this digest, or None."""
        sql = "SELECT number FROM documents WHERE digest = ?"
        with self._guarded(), self._lock:
            row = self._connection.execute(sql, (digest,)).fetchone()
        return None if row is None else int(row[0])

    def matching(self, condition: Filter, count: int) -> npt.NDArray[np.bool_]:
        """Returns which of the `count` documents a filter lets through, bool (count,)."""
        with self._guarded(), self._lock:
            return condition.documents(self._connection, count)

    def stream(self) -> Iterator[Document]:
        """Yields all documents in the order of their numbers.

        Raises:
            CorruptIndexError: If the file is damaged, or a number is missing.
        """
        sql = (
            "SELECT number, id, text, title, metadata FROM documents "
            "WHERE number >= ? ORDER BY number LIMIT ?"
        )
        # Some at a time: the lock must not be held between two documents. And by the connection
        # that is open, for the name of the file is gone once a later version has replaced it.
        following = 0
        while True:
            with self._guarded(), self._lock:
                rows = self._connection.execute(sql, (following, STREAM_ROWS)).fetchall()
            for row in rows:
                if row[0] != following:
                    raise CorruptIndexError(
                        f"{self._path}: number {following} is missing in documents."
                    )
                yield self._document(row[1:])
                following += 1
            if len(rows) < STREAM_ROWS:
                return

    def problems(self) -> Iterator[str]:
        """Yields what SQLite finds wrong with the file, after reading all of it."""
        with self._guarded(), self._lock:
            check = self._connection.execute("PRAGMA integrity_check(3)").fetchall()
        yield from (row[0] for row in check if row[0] != "ok")

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

    def _rows(self, sql: str, values: list[Any]) -> Iterator[tuple[Any, ...]]:
        for first in range(0, len(values), QUERY_ROWS):
            part = values[first : first + QUERY_ROWS]
            with self._guarded(), self._lock:
                rows = self._connection.execute(sql % ",".join("?" * len(part)), part).fetchall()
            yield from rows

    def _one(self, sql: str) -> int:
        with self._guarded(), self._lock:
            return int(self._connection.execute(sql).fetchone()[0])

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError, OverflowError) as error:
            raise CorruptIndexError(
                f"{self._path} is damaged or no SQLite file ({error}). Build the index again."
            ) from error
