"""Writing the store of documents."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from retrieval_index.corpus.document import Document
from retrieval_index.filters.fields import SCHEMA as FIELDS_SCHEMA
from retrieval_index.filters.fields import field_rows
from retrieval_index.storage.durable import fsync_file

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
