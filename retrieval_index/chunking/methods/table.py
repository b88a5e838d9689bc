"""The methods of chunking by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from retrieval_index.chunking.chunk import Chunk
from retrieval_index.chunking.methods.characters import by_characters
from retrieval_index.chunking.methods.headings import by_headings
from retrieval_index.chunking.methods.paragraphs import by_paragraphs
from retrieval_index.chunking.methods.sentences import by_sentences
from retrieval_index.chunking.methods.tokens import by_tokens
from retrieval_index.chunking.methods.whole import whole
from retrieval_index.chunking.source import Source
from retrieval_index.errors import ArgumentError

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
