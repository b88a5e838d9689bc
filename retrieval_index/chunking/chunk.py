"""What a document is cut into."""

from __future__ import annotations

from dataclasses import dataclass


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
