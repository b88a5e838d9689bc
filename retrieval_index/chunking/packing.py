"""Filling chunks with whole parts: paragraphs, sentences, units."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from retrieval_index.chunking.clusters import MAX_LENGTH, is_border
from retrieval_index.chunking.source import Source
from retrieval_index.chunking.units import Span

# From a stretch of text to the finer parts it is made of; together they cover it.
Divide = Callable[[Source, int, int], Iterable[Span]]


def pack(
    source: Source, start: int, end: int, divisions: tuple[Divide, ...], size: int, overlap: int
) -> Iterator[Span]:
    """Yields the spans of chunks, each filled with as many whole parts as fit.

    Args:
        source: The text.
        start: First character to chunk.
        end: Character behind the last.
        divisions: How to divide, coarsest first. A part beyond `size` units is divided by the
            next, and by single units in the end.
        size: Most units in a chunk. A character of more units than that is a chunk all the same.
        overlap: Whole parts worth this many units at most are repeated from the chunk before; they
            give way where the next part would not fit otherwise.
    """
    parts = list(_parts(source, start, end, divisions, size))
    begin = 0
    while begin < len(parts):
        stop, total = begin, 0
        while stop < len(parts) and (stop == begin or total + parts[stop][2] <= size):
            total += parts[stop][2]
            stop += 1
        yield parts[begin][0], parts[stop - 1][1]
        if stop == len(parts):
            return
        allowed = min(overlap, size - parts[stop][2])
        back, kept = stop, 0
        while back - 1 > begin and kept + parts[back - 1][2] <= allowed:
            back -= 1
            kept += parts[back][2]
        begin = back


def _parts(
    source: Source, start: int, end: int, divisions: tuple[Divide, ...], size: int
) -> Iterator[tuple[int, int, int]]:
    """Yields (start, end, units) of parts of at most `size` units where that is possible."""
    span = source.trimmed(start, end)
    if span is None:
        return
    if not divisions:
        for first, last in _units(source, *span):
            piece = source.trimmed(first, last)
            if piece is not None:
                yield *piece, source.count(*piece)
    else:
        for first, last in divisions[0](source, *span):
            inner = source.trimmed(first, last)
            if inner is None:
                continue
            count = source.count(*inner)
            if count <= size:
                yield *inner, count
            else:
                yield from _parts(source, *inner, divisions[1:], size)


def _units(source: Source, start: int, end: int) -> Iterator[Span]:
    """Yields single units, joined where a cut between them would tear a character apart."""
    begin = start
    for place in source.starts_within(start, end):
        if place > begin and (is_border(source.text, place) or place - begin > MAX_LENGTH):
            yield begin, place
            begin = place
    yield begin, end
