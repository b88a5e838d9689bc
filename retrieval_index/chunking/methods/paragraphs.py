"""Whole paragraphs, as many as fit."""

from __future__ import annotations

import re
from collections.abc import Iterator

from retrieval_index.chunking.chunk import Chunk
from retrieval_index.chunking.methods.sentences import sentences
from retrieval_index.chunking.packing import pack
from retrieval_index.chunking.source import Source
from retrieval_index.chunking.units import Span

# Begins at a line end, so that a long run of spaces is looked at once and not from each of them.
_BLANK_LINE = re.compile(r"(?:\r\n|[\n\r])[^\S\n\r]*(?:\r\n|[\n\r])\s*|\u2029\s*")


def by_paragraphs(source: Source, size: int, overlap: int) -> Iterator[Chunk]:
    """Yields whole paragraphs packed up to `size` units; longer ones fall back to sentences."""
    heading, taken = source.heading(size)
    room = size - taken
    spans = pack(source, 0, len(source.text), DIVISIONS, room, overlap * room // size)
    for start, end in spans:
        yield source.chunk(start, end, heading, source.count(start, end) + taken)


def paragraphs(source: Source, start: int, end: int) -> Iterator[Span]:
    """Yields the paragraphs of a part of the text: what lies between blank lines."""
    begin = start
    for match in _BLANK_LINE.finditer(source.text, start, end):
        yield begin, match.start()
        begin = match.end()
    yield begin, end


DIVISIONS = (paragraphs, sentences)
