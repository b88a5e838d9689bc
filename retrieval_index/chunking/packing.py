"""Chunks of even size, and chunks filled with whole parts: sentences, paragraphs, headings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from retrieval_index.chunking.markdown import Section, sections
from retrieval_index.chunking.sentence_spans import sentence_spans
from retrieval_index.chunking.source import Chunk, Source
from retrieval_index.chunking.units import MAX_LENGTH, Span, is_border

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


PARAGRAPH, SENTENCE, NONE = 2, 1, 0
MAX_GAP = 64  # whitespace looked at around a unit; a bound, so that long runs cost no time

_ENDERS = (".", "!", "?", "…", "。", "！", "？")
_ENDERS_WITHOUT_SPACE = ("。", "！", "？")
_CLOSERS = "\"'”’»)]}」』"


def boundary_before(text: str, spans: list[Span], unit: int) -> int:
    """Returns what ends just before `spans[unit]`: `PARAGRAPH`, `SENTENCE` or `NONE`."""
    # Not `spans[unit - 1][1]`: a tokeniser may count the space as part of one of the words.
    start = end = spans[unit][0]
    while start > 0 and end - start < MAX_GAP and text[start - 1].isspace():
        start -= 1
    gap = text[start:end]
    if gap.count("\n") >= 2:
        return PARAGRAPH
    # A few characters before the gap are enough: the ender and the quotes or brackets closed on it.
    before = text[max(0, start - 8) : start].rstrip(_CLOSERS)
    if before.endswith(_ENDERS_WITHOUT_SPACE):
        # A closing quote that is a unit of its own belongs to the sentence before it.
        return NONE if text[end : end + 1] in _CLOSERS else SENTENCE
    return SENTENCE if gap and before.endswith(_ENDERS) else NONE


def best_end(text: str, spans: list[Span], low: int, high: int) -> int:
    """Returns the unit before which to cut: the last paragraph end, else the last sentence end.

    Args:
        text: The text.
        spans: Its units.
        low: Earliest cut allowed.
        high: Latest cut allowed, and the answer when nothing ends in between.
    """
    sentence = None
    for unit in range(high, low - 1, -1):
        kind = boundary_before(text, spans, unit)
        if kind == PARAGRAPH:
            return unit
        if kind == SENTENCE and sentence is None:
            sentence = unit
    return high if sentence is None else sentence


def best_start(text: str, spans: list[Span], low: int, end: int) -> int:
    """Returns where the next chunk begins: the first sentence start from `low` on, else `low`."""
    for unit in range(max(low, 1), end):
        if boundary_before(text, spans, unit) != NONE:
            return unit
    return low


def by_tokens(source: Source, size: int, overlap: int) -> Iterator[Chunk]:
    """Yields windows of at most `size` units."""
    heading, taken = source.heading(size)
    room = size - taken
    for start, end, count in _windows(source.text, source.units, room, overlap * room // size):
        yield source.chunk(start, end, heading, count + taken)


def _windows(
    text: str, spans: list[Span], size: int, overlap: int
) -> Iterator[tuple[int, int, int]]:
    begin = last_end = 0
    while True:
        limit = begin + size
        if limit >= len(spans):
            end = len(spans)
        else:
            # Only the last third is searched: chunks of even size are worth more than perfect cuts.
            # The overlap is added so that the next chunk always begins further on.
            low = min(limit, begin + max(2 * size // 3, overlap) + 1)
            end = _character_border(spans, best_end(text, spans, low, limit), last_end)
        # From the first unit to where the next chunk's fresh units begin: characters that belong to
        # no unit are covered too.
        start = spans[begin][0] if begin else 0
        stop = len(text) if end == len(spans) else spans[end][0]
        piece = text[start:stop]
        if piece.strip():
            lead = len(piece) - len(piece.lstrip())
            yield start + lead, start + len(piece.rstrip()), end - begin
        if end == len(spans):
            return
        if overlap:
            wanted = best_start(text, spans, max(begin + 1, end - overlap), end)
            begin = _character_border(spans, wanted, wanted - 1)
        else:
            begin = end
        last_end = end


def _character_border(spans: list[Span], unit: int, above: int) -> int:
    """Returns the nearest unit, not after `unit` if that is above `above`, that begins a character.

    Several byte-level tokens may share one character, which cannot be cut.
    """
    back = unit
    while back > above and spans[back][0] == spans[back - 1][0]:
        back -= 1
    if back > above:
        return back
    while unit < len(spans) and spans[unit][0] == spans[unit - 1][0]:
        unit += 1
    return unit
