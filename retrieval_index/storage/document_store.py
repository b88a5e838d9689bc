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
from retrieval_index.filters.fields import SCHEMA as FIELDS_SCHEMA
from retrieval_index.filters.fields import field_rows
from retrieval_index.storage.durable import fsync_file

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from retrieval_index.filters.filter import Filter

APPLICATION_ID = 0x6B7A6F6F  # "kzoo", which tells this SQLite file from others
SCHEMA_VERSION = 2
SCHEMA = f"""
CREATE TABLE documents (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, title TEXT NOT NULL,
    text TEXT NOT NULL, metadata TEXT NOT NULL, digest BLOB NOT NULL);
CREATE TABLE headings (number INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE INDEX documents_digest ON documents(digest);
{FIELDS_SCHEMA};
"""


class DocumentWriter:
    """Fills a new SQLite file in one pass.

    There is no journal: a broken-off build reads the corpus again and writes this file anew (that
    costs little next to encoding), so nothing in it has to survive a crash before `finish`.

    Args:
        path: The file; whatever is there is replaced.
    """

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._path = path
        # The thread that reads ahead writes; this one finishes and closes, after it.
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.executescript(
            f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
            f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA_VERSION};"
            f"{SCHEMA} BEGIN;"
        )
        self.documents = 0
        self._headings = 0
        self._last_heading = ""

    def holds_text(self, document: Document) -> bool:
        """Returns whether a document with the same title and text is there already."""
        sql = "SELECT 1 FROM documents WHERE digest = ?"
        return self._connection.execute(sql, (document.digest,)).fetchone() is not None

    def add(self, document: Document) -> bool:
        """Adds a document; returns False, and adds nothing, if its id is there already."""
        metadata = json.dumps(dict(document.metadata), allow_nan=False)
        # The unique index finds repeated ids on disk: a set of all ids would grow with the corpus.
        cursor = self._connection.execute(
            "INSERT OR IGNORE INTO documents VALUES (?, ?, ?, ?, ?, ?)",
            (
                self.documents,
                document.id,
                document.title,
                document.text,
                metadata,
                document.digest,
            ),
        )
        if cursor.rowcount == 0:
            return False
        self._connection.executemany(
            "INSERT OR IGNORE INTO fields VALUES (?, ?, ?, ?)",
            [(*row, self.documents) for row in field_rows(document.metadata)],
        )
        self.documents += 1
        return True

    def heading(self, text: str) -> int:
        """Returns the number of what is encoded before a passage, or -1 for "".

        Passages of one document or section follow each other, so only the last one is looked at.
        """
        if not text:
            return -1
        if text != self._last_heading:
            sql = "INSERT INTO headings VALUES (?, ?)"
            self._connection.execute(sql, (self._headings, text))
            self._headings += 1
            self._last_heading = text
        return self._headings - 1

    def finish(self) -> None:
        """Makes the file complete and durable."""
        self._connection.execute("COMMIT")
        self._connection.close()
        fsync_file(self._path)

    def close(self) -> None:
        """Lets go of the file; without `finish` before, it is of no use."""
        self._connection.close()


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
