"""Windows of even size that prefer to end where a paragraph or a sentence does."""

from __future__ import annotations

from collections.abc import Iterator

from retrieval_index.chunking.source import Chunk, Source
from retrieval_index.chunking.units import Span

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
