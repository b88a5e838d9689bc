"""A fixed number of characters."""

from __future__ import annotations

import re
from collections.abc import Iterator

from retrieval_index.chunking.chunk import Chunk
from retrieval_index.chunking.clusters import border_after, border_before
from retrieval_index.chunking.source import Source

_VISIBLE = re.compile(r"\S")


def by_characters(source: Source, size: int, overlap: int) -> Iterator[Chunk]:
    """Yields stretches of `size` characters, less where a cluster of characters would be torn.

    A single cluster of more characters than `size` is a chunk all the same.
    """
    heading = source.title[: border_before(source.title, min(len(source.title), size // 2))].strip()
    room = size - len(heading)
    overlap = overlap * room // size
    text, begin, last_end = source.text, 0, 0
    while match := _VISIBLE.search(text, begin):
        begin = match.start()
        end = _border(text, begin + room, begin)
        span = source.trimmed(begin, end)
        if span is not None and span[1] > last_end:
            last_end = span[1]
            yield source.chunk(*span, heading, span[1] - span[0] + len(heading))
        if end >= len(text):
            return
        # The next chunk has to end further on: at least one cluster behind `end` fits into it.
        fits = max(begin + 1, end - overlap, border_after(text, end + 1) - room)
        begin = min(end, border_after(text, fits))


def _border(text: str, place: int, above: int) -> int:
    if place >= len(text):
        return len(text)
    before = border_before(text, place)
    return before if before > above else border_after(text, place)
