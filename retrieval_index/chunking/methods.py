"""The methods of chunking by name, and the two that need neither words nor tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from retrieval_index.chunking.packing import by_headings, by_paragraphs, by_sentences, by_tokens
from retrieval_index.chunking.source import Chunk, Source
from retrieval_index.chunking.units import border_after, border_before
from retrieval_index.errors import ArgumentError

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


def whole(source: Source, size: int, overlap: int) -> Iterator[Chunk]:
    """Yields the document, title and all; the encoder reads as much of it as it can."""
    span = source.trimmed(0, len(source.text))
    if span is not None:
        yield source.chunk(*span, source.title, 1)


CHARACTERS, DOCUMENTS = "characters", "documents"


@dataclass(frozen=True)
class Method:
    """A method of chunking.

    Attributes:
        summary: What it does, in one line.
        split: Yields the chunks of a document, given size and overlap.
        units: What sizes count, where that does not depend on the encoder.
    """

    summary: str
    split: Callable[[Source, int, int], Iterator[Chunk]]
    units: str | None = None


METHODS = {
    "tokens": Method(
        "windows of even size that prefer to end with a paragraph or sentence", by_tokens
    ),
    "sentences": Method("whole sentences, as many as fit", by_sentences),
    "paragraphs": Method("whole paragraphs, as many as fit; long ones by sentences", by_paragraphs),
    "headings": Method(
        "sections of Markdown under their path of headings; long ones by paragraphs", by_headings
    ),
    "characters": Method("a fixed number of characters", by_characters, CHARACTERS),
    "none": Method(
        "one passage a document, of which the encoder reads what it can", whole, DOCUMENTS
    ),
}


def methods() -> dict[str, str]:
    """Returns the names of the methods of chunking, each with a line on what it does."""
    return {name: method.summary for name, method in METHODS.items()}


def find_method(name: object) -> Method:
    """Returns a method by name.

    Raises:
        ArgumentError: If there is none of this name.
    """
    if not isinstance(name, str) or name not in METHODS:
        raise ArgumentError(
            f"`method` must be one of {', '.join(map(repr, METHODS))}; received: {name!r}."
        )
    return METHODS[name]
