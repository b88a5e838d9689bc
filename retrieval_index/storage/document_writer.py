"""Writing the store of documents and chunk offsets."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from retrieval_index.chunking.chunker import Chunk
from retrieval_index.corpus.document import Document
from retrieval_index.storage.durable import fsync_file

APPLICATION_ID = 0x6B7A6F6F  # "kzoo", which tells this SQLite file from others
SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE documents (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, title TEXT NOT NULL,
    text TEXT NOT NULL, metadata TEXT NOT NULL);
CREATE TABLE chunks (
    number INTEGER PRIMARY KEY, document INTEGER NOT NULL REFERENCES documents(number),
    start INTEGER NOT NULL, "end" INTEGER NOT NULL);
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
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.executescript(
            f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
            f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA_VERSION};"
            f"{SCHEMA} BEGIN;"
        )
        self.documents = 0
        self.chunks = 0

    def add_document(self, document: Document) -> bool:
        """Adds a document; returns False, and adds nothing, if its id is there already."""
        metadata = json.dumps(dict(document.metadata), allow_nan=False)
        # The unique index finds repeated ids on disk: a set of all ids would grow with the corpus.
        cursor = self._connection.execute(
            "INSERT OR IGNORE INTO documents VALUES (?, ?, ?, ?, ?)",
            (self.documents, document.id, document.title, document.text, metadata),
        )
        if cursor.rowcount == 0:
            return False
        self.documents += 1
        return True

    def add_chunk(self, chunk: Chunk) -> None:
        """Adds a chunk of the document that was added last; its number is that of its vector."""
        self._connection.execute(
            "INSERT INTO chunks VALUES (?, ?, ?, ?)",
            (self.chunks, self.documents - 1, chunk.start, chunk.end),
        )
        self.chunks += 1

    def finish(self) -> None:
        """Makes the file complete and durable."""
        self._connection.execute("COMMIT")
        self._connection.close()
        fsync_file(self._path)

    def close(self) -> None:
        """Lets go of the file; without `finish` before, it is of no use."""
        self._connection.close()
