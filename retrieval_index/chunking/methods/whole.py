"""One passage a document."""

from __future__ import annotations

from collections.abc import Iterator

from retrieval_index.chunking.chunk import Chunk
from retrieval_index.chunking.source import Source


def whole(source: Source, size: int, overlap: int) -> Iterator[Chunk]:
    """Yields the document, title and all; the encoder reads as much of it as it can."""
    span = source.trimmed(0, len(source.text))
    if span is not None:
        yield source.chunk(*span, source.title, 1)
