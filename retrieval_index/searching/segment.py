"""A segment that is open for searching."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from retrieval_index.errors import CorruptIndexError
from retrieval_index.storage.document_store import DocumentStore
from retrieval_index.storage.manifest import (
    CHUNKS,
    DOCUMENTS,
    LEXICAL,
    RAW,
    VECTORS,
    Manifest,
    SegmentEntry,
)
from retrieval_index.storage.segment_files import (
    LEXICAL_FOLDER,
    SEGMENTS,
    read_chunk_table,
    read_deletions,
)
from retrieval_index.vectors.reading import read_raw, read_vectors
from retrieval_index.vectors.rows import RowMask
from retrieval_index.vectors.searcher import VectorSearcher

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from retrieval_index.corpus.document import Document
    from retrieval_index.filters.filter import Filter

    Mask = npt.NDArray[np.bool_]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LastUsed:
    """Keeps the results for the arguments that were used last; safe in several threads.

    Args:
        size: Results kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[Any, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K, make: Callable[[K], V]) -> V:
        """Returns `make(key)`, from before if it is still there; two threads may both make it."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                found: V = self._kept[key]
                return found
        made = make(key)
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return made


FILTERS_KEPT = 8


class Segment:
    """One part of an open index.

    Args:
        folder: Folder of the index.
        entry: Its entry in the manifest.
        manifest: The manifest.
        checksums: Whether every file is read through and compared with its SHA-256.
        thorough: Whether the inside of the FAISS index is looked over too.

    Attributes:
        entry: Its entry in the manifest.
        store: Its documents.
        chunks: int32 (n, 4): document, start, end and heading of each passage.
        vectors: Searches its vectors.
        lexical: Its BM25 index, or None.
        dead: Which documents are deleted, bool (documents,); None: none are.

    Raises:
        CorruptIndexError: If a file is damaged, missing or does not fit the others.
    """

    def __init__(
        self,
        folder: Path,
        entry: SegmentEntry,
        manifest: Manifest,
        checksums: bool,
        thorough: bool = False,
    ) -> None:
        files = {key: file.check(folder, checksums) for key, file in entry.files.items()}
        self.entry = entry
        dimension = manifest.encoder.dimension
        self.chunks = read_chunk_table(files[CHUNKS], entry.chunks, entry.documents)
        self.dead: Mask | None = None
        if entry.deleted is not None:
            self.dead = read_deletions(
                entry.deleted.check(folder, checksums), entry.deleted_documents, entry.documents
            )
        index = read_vectors(
            files[VECTORS], entry.vectors.factory, entry.chunks, dimension, thorough=thorough
        )
        raw = read_raw(files[RAW], entry.chunks, dimension) if entry.vectors.lossy else None
        self.vectors = VectorSearcher(index, entry.vectors.factory, raw, entry.vectors.parameters)
        self.lexical: Any = None
        if any(key.startswith(LEXICAL) for key in files):
            from retrieval_index.lexical.search import LexicalSegment

            place = folder / SEGMENTS / entry.name / LEXICAL_FOLDER
            self.lexical = LexicalSegment(place, entry.chunks)
        self.store = DocumentStore(files[DOCUMENTS])
        self._alive = None if self.dead is None else RowMask(~self.dead[self.chunks[:, 0]])
        self._filtered = LastUsed(FILTERS_KEPT)
        if self._alive is not None and self._alive.count != entry.live_chunks:
            self.close()
            raise CorruptIndexError(f"{folder}: deleted passages of {entry.name} are miscounted.")

    def allowed(self, condition: Filter | None) -> RowMask | None:
        """Returns which passages a search may find; None: all of them."""
        if condition is None:
            return self._alive
        # The segment never changes, and users filter by the same few conditions again and again.
        return self._filtered.get(condition, self._passing)

    def _passing(self, condition: Filter) -> RowMask:
        documents = self.store.matching(condition, self.entry.documents)
        if self.dead is not None:
            documents &= ~self.dead
        return RowMask(documents[self.chunks[:, 0]])

    def document_of(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Returns the document numbers of passages."""
        import numpy as np

        found: npt.NDArray[np.int64] = self.chunks[numbers, 0].astype(np.int64)
        return found

    def live_documents(self) -> npt.NDArray[np.int64]:
        """Returns the numbers of the documents that are not deleted, ascending."""
        import numpy as np

        if self.dead is None:
            return np.arange(self.entry.documents)
        return np.flatnonzero(~self.dead)

    def document(self, number: int) -> Document:
        """Returns one document."""
        return self.store.documents([number])[number]

    def close(self) -> None:
        """Lets go of the files."""
        self.store.close()
