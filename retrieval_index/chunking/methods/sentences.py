"""Whole sentences, as many as fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from retrieval_index.chunking.chunk import Chunk
from retrieval_index.chunking.packing import pack
from retrieval_index.chunking.sentence_spans import sentence_spans
from retrieval_index.chunking.source import Source
from retrieval_index.chunking.units import Span


def by_sentences(source: Source, size: int, overlap: int) -> Iterator[Chunk]:
    """Yields whole sentences packed up to `size` units; a sentence beyond it is cut."""
    heading, taken = source.heading(size)
    room = size - taken
    spans = pack(source, 0, len(source.text), (sentences,), room, overlap * room // size)
    for start, end in spans:
        yield source.chunk(start, end, heading, source.count(start, end) + taken)


def sentences(source: Source, start: int, end: int) -> Iterable[Span]:
    """Returns the sentences of a part of the text."""
    return sentence_spans(source.text, start, end)
