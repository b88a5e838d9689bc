"""Windows of even size that prefer to end where a paragraph or a sentence does."""

from __future__ import annotations

from collections.abc import Iterator

from retrieval_index.chunking.boundaries import best_end, best_start
from retrieval_index.chunking.chunk import Chunk
from retrieval_index.chunking.source import Source
from retrieval_index.chunking.units import Span


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
