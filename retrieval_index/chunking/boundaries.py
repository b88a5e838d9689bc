"""Where a text may be cut without cutting a thought."""

from __future__ import annotations

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
