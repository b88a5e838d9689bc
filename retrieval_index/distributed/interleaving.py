"""The documents and vectors of all parts in the order of the corpus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from retrieval_index.distributed.plan import Place
from retrieval_index.distributed.record import PartRecord
from retrieval_index.errors import ArgumentError
from retrieval_index.searching.opening import open_index
from retrieval_index.searching.segment import Segment

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from retrieval_index.corpus.document import Document

    Vectors = npt.NDArray[np.float32]

FILES_OF_A_PART = 3
FILES_OF_A_PROCESS = 100


def check_open_files(parts: int) -> None:
    """Refuses more parts than can be open at the same time.

    Otherwise some part would look damaged, as its files cannot be opened.

    Raises:
        ArgumentError: If the limit is too low.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = FILES_OF_A_PART * parts + FILES_OF_A_PROCESS
    if limit != resource.RLIM_INFINITY and limit < needed:
        raise ArgumentError(
            f"`shard_num` is {parts}: about {needed:,} files are open at a time, and this process "
            f"may open {limit:,}. Run: ulimit -n {needed}"
        )


BLOCK_DOCUMENTS = 256
BLOCK_ROWS = 8192


class StoredPassage(NamedTuple):
    """Characters of a document, and what is encoded before them."""

    start: int
    end: int
    heading: str


class Interleaved:
    """Document i of the whole is document i // n of part i % n.

    Args:
        segments: The one segment of each of the n parts, in order; nothing is deleted in them.
            Parts without documents, which can only be the last ones, are left out.
        shard_num: n.
        dimension: Length of a vector.

    Attributes:
        documents: Documents of all parts.
        chunks: Passages of all parts.
        dimension: Length of a vector.
    """

    def __init__(self, segments: Sequence[Segment], shard_num: int, dimension: int) -> None:
        import numpy as np

        self._segments = segments
        self.dimension = dimension
        self.documents = sum(segment.entry.documents for segment in segments)
        self.chunks = sum(segment.entry.chunks for segment in segments)
        counts = np.empty(self.documents, dtype=np.int32)
        for part, segment in enumerate(segments):
            counts[part::shard_num] = np.bincount(segment.chunks[:, 0])
        # Which part each passage comes from; inside a part the order is that of the corpus already.
        parts = (np.arange(self.documents) % shard_num).astype(np.min_scalar_type(shard_num))
        self._owners = np.repeat(parts, counts)

    def stored(self) -> Iterator[tuple[Document, list[StoredPassage]]]:
        """Yields every document with its passages."""
        streams = [_stream(segment) for segment in self._segments]
        for number in range(self.documents):
            yield next(streams[number % len(streams)])

    def vectors(self, first: int = 0, last: int | None = None) -> Iterator[Vectors]:
        """Yields the vectors of the passages from `first` to before `last`, in blocks."""
        import numpy as np

        last = self.chunks if last is None else last
        read = np.bincount(self._owners[:first], minlength=len(self._segments)).tolist()
        for begin in range(first, last, BLOCK_ROWS):
            owners = self._owners[begin : min(begin + BLOCK_ROWS, last)]
            block = np.empty((len(owners), self.dimension), dtype=np.float32)
            for part in np.unique(owners).tolist():
                rows = np.flatnonzero(owners == part)
                block[rows] = self._segments[part].vectors.rows(read[part], len(rows))
                read[part] += len(rows)
            yield block


def _stream(segment: Segment) -> Iterator[tuple[Document, list[StoredPassage]]]:
    """Yields the documents of a part with their passages."""
    import numpy as np

    documents = segment.store.stream()
    chunks = segment.chunks
    starts = np.searchsorted(chunks[:, 0], np.arange(segment.entry.documents + 1))
    for first in range(0, segment.entry.documents, BLOCK_DOCUMENTS):
        bounds = starts[first : first + BLOCK_DOCUMENTS + 1].tolist()
        rows = chunks[bounds[0] : bounds[-1]].tolist()
        titles = segment.store.headings({row[3] for row in rows})
        for begin, end in pairwise(bounds):
            passages = [
                StoredPassage(row[1], row[2], titles[row[3]])
                for row in rows[begin - bounds[0] : end - bounds[0]]
            ]
            yield next(documents), passages


@contextmanager
def opened(places: Sequence[Place], records: Sequence[PartRecord]) -> Iterator[list[Segment]]:
    """Opens all parts that have documents, and compares their checksums.

    Raises:
        ArgumentError: If the system does not let this process open so many files.
        CorruptIndexError: If one is damaged.
    """
    check_open_files(len(places))
    with ExitStack() as stack:
        yield [
            stack.enter_context(closing(open_index(place.folder)))._open().segments[0]
            for place, record in zip(places, records, strict=True)
            if record.documents
        ]
