"""Which documents of a corpus a part takes, decided alike by all parts."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from retrieval_index.building.intake import Intake
from retrieval_index.corpus.document import Document, Entry
from retrieval_index.corpus.problem_log import ProblemLog
from retrieval_index.progress import BuildProgress

if TYPE_CHECKING:
    from retrieval_index.corpus.opening import Corpus
    from retrieval_index.storage.document_store import DocumentWriter


class CorpusPart:
    """Every `shard_num`-th usable document of a corpus, beginning with number `shard_id`.

    The whole corpus is read, and what a build on one machine would turn away is turned away here:
    a part must know the ids and texts of the documents of the others. So document i of the
    finished index is document i // shard_num of part i % shard_num.

    Args:
        corpus: The whole.
        shard_id: Which part, from 0.
        shard_num: How many parts there are.
        skip_repeated: Whether a text that came before under another id is turned away.

    Attributes:
        documents: Usable documents of the whole corpus, once it was read.
        digest: Hash of their ids, titles, texts and metadata in order: the same for all parts,
            unless the corpus changed in between or is not the same everywhere.
        repeated_texts: Documents of the corpus whose text came before under another id.
    """

    def __init__(
        self, corpus: Corpus, shard_id: int, shard_num: int, *, skip_repeated: bool
    ) -> None:
        self._corpus = corpus
        self._shard_id = shard_id
        self._shard_num = shard_num
        self._skip_repeated = skip_repeated
        self.documents = 0
        self.digest = ""
        self.repeated_texts = 0

    def size(self) -> int | None:
        """Returns the size of the whole, all of which is read."""
        return self._corpus.size()

    @property
    def description(self) -> str:
        """What is read, for reports."""
        return self._corpus.description

    def read(self, log: ProblemLog) -> Iterator[Entry]:
        """Yields the documents of the part; all problems of the corpus are logged."""
        state = hashlib.blake2b(digest_size=16)
        number = 0
        with Seen() as seen:
            # It asks the store for no more than what `Seen` can answer.
            store = cast("DocumentWriter", seen)
            intake = Intake(self._skip_repeated, store, log, BuildProgress(False), None)
            for document in intake.accepted(self._corpus.read(log)):
                state.update(_fingerprint(document))
                if number % self._shard_num == self._shard_id:
                    # What is left has no problems, so that nobody asks for its place.
                    yield Entry(document, "")
                number += 1
        self.documents = number
        self.digest = state.hexdigest()
        self.repeated_texts = intake.repeated_texts


class Seen:
    """The ids and text digests of all documents so far, on the disk: no set of them grows."""

    def __init__(self) -> None:
        # "" is a temporary file that SQLite removes itself. The thread that reads ahead uses it.
        self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._connection.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
            "CREATE TABLE ids (id TEXT PRIMARY KEY) WITHOUT ROWID;"
            "CREATE TABLE texts (digest BLOB PRIMARY KEY) WITHOUT ROWID;"
        )

    def holds_text(self, document: Document) -> bool:
        """Returns whether a document with the same title and text was added."""
        sql = "SELECT 1 FROM texts WHERE digest = ?"
        return self._connection.execute(sql, (document.digest,)).fetchone() is not None

    def add(self, document: Document) -> bool:
        """Notes a document; returns False, and notes nothing, if its id was added before."""
        sql = "INSERT OR IGNORE INTO ids VALUES (?)"
        if self._connection.execute(sql, (document.id,)).rowcount == 0:
            return False
        self._connection.execute("INSERT OR IGNORE INTO texts VALUES (?)", (document.digest,))
        return True

    def __enter__(self) -> Seen:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()


def _fingerprint(document: Document) -> bytes:
    metadata = json.dumps(dict(document.metadata), sort_keys=True)
    inner = hashlib.blake2b(document.digest, digest_size=16)
    for text in (document.id, metadata):
        data = text.encode("utf-8", "surrogatepass")
        inner.update(len(data).to_bytes(8, "little"))
        inner.update(data)
    return inner.digest()
