"""Chunks filled with whole parts: the methods "sentences", "paragraphs" and "headings"."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from retrieval_index.chunking.clusters import MAX_LENGTH, is_border
from retrieval_index.chunking.markdown import Section, sections
from retrieval_index.chunking.sentence_spans import sentence_spans
from retrieval_index.chunking.source import Chunk, Source
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


SEPARATOR = " > "


def by_headings(source: Source, size: int, overlap: int) -> Iterator[Chunk]:
    """Yields the sections of a Markdown text; those beyond `size` units fall back to paragraphs.

    Each is encoded under its path, "Title > Heading > Subheading"; where that would take more than
    half of `size`, the outer parts are left out first. The line of a heading also stands in the
    first chunk of its section. A heading with nothing but subheadings below it opens the first of
    those sections.
    """
    for section in sections(source.text):
        heading, taken = _path(source, section, size)
        room = size - taken
        spans = pack(source, section.start, section.end, DIVISIONS, room, overlap * room // size)
        for start, end in spans:
            yield source.chunk(start, end, heading, source.count(start, end) + taken)


def _path(source: Source, section: Section, size: int) -> tuple[str, int]:
    """Returns the path of a section as far as it fits into half of `size`, and its units."""
    parts = [(_line(source.text[a:b]), source.count(a, b)) for a, b in section.path]
    # Often the title was read from the first heading.
    if source.title and (not parts or _line(source.title) != parts[0][0]):
        parts.insert(0, (source.title, len(source.title_units)))
    if not parts:
        return "", 0
    limit = size // 2
    kept, total = len(parts), 0
    while kept > 0:
        # A separator counts as one unit.
        cost = parts[kept - 1][1] + (1 if kept < len(parts) else 0)
        if total + cost > limit:
            break
        total += cost
        kept -= 1
    if kept < len(parts):
        return SEPARATOR.join(name for name, _ in parts[kept:]), total
    if not section.path:
        return source.heading(size)
    # Not even the innermost fits: as much of it as does.
    start, end = section.path[-1]
    ends = source.ends_within(start, end)[:limit]
    return (_line(source.text[start : min(end, ends[-1])]), len(ends)) if ends else ("", 0)


def _line(text: str) -> str:
    return " ".join(text.split())
