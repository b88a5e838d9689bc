"""A document whose text and title have been measured in units, and the passages cut from it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cached_property

from retrieval_index.chunking.units import Span


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of a document: `document.text[start:end] == text`.

    Attributes:
        start: First character.
        end: Character behind the last one.
        text: The characters between; neither its first nor its last is whitespace.
        heading: What is encoded with the text although it may stand elsewhere: the part of the
            title that fits, or with the method "headings" the path "Title > A > B"; or "".
        tokens: Units encoded, heading included; `Chunker.units` says what they are.
    """

    start: int
    end: int
    text: str
    heading: str = ""
    tokens: int = 0

    @property
    def encoded(self) -> str:
        """What the encoder sees."""
        return (
            f"{self.heading}\n{self.text}"
            if self.heading and self.text
            else (self.heading or self.text)
        )


@dataclass(frozen=True)
class Source:
    """A text, its title, and the character spans of the units of both.

    Args:
        text: The text of a document.
        units: Its units, ascending; every character that is not whitespace lies in one, as a rule.
        title: The title, stripped.
        title_units: Its units.
    """

    text: str
    units: list[Span]
    title: str = ""
    title_units: list[Span] | tuple[()] = ()

    def heading(self, size: int) -> tuple[str, int]:
        """Returns the part of the title to encode, and its units: half of `size` at most."""
        kept = min(len(self.title_units), size // 2)
        return (self.title[: self.title_units[kept - 1][1]] if kept else ""), kept

    def count(self, start: int, end: int) -> int:
        """Returns how many units lie in `text[start:end]`, at least in part."""
        if start >= end:
            return 0
        first = bisect_right(self._starts, start)
        while first > 0 and self.units[first - 1][1] > start:
            first -= 1
        return max(0, bisect_left(self._starts, end) - first)

    def starts_within(self, start: int, end: int) -> list[int]:
        """Returns the first characters of the units that begin in `text[start:end]`."""
        return self._starts[bisect_left(self._starts, start) : bisect_left(self._starts, end)]

    def ends_within(self, start: int, end: int) -> list[int]:
        """Returns where the units that begin in `text[start:end]` end."""
        first, last = bisect_left(self._starts, start), bisect_left(self._starts, end)
        return [unit_end for _, unit_end in self.units[first:last]]

    def trimmed(self, start: int, end: int) -> Span | None:
        """Returns the span without whitespace at its ends; None when nothing is left."""
        piece = self.text[start:end]
        stripped = piece.lstrip()
        if not stripped:
            return None
        return start + len(piece) - len(stripped), start + len(piece.rstrip())

    def chunk(self, start: int, end: int, heading: str, tokens: int) -> Chunk:
        """Returns the chunk of a trimmed span."""
        return Chunk(start, end, self.text[start:end], heading, tokens)

    @cached_property
    def _starts(self) -> list[int]:
        return [start for start, _ in self.units]
