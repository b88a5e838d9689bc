"""Windows over a document that overlap, fit the encoder, and know their characters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from retrieval_index.arguments import check_positive
from retrieval_index.chunking.boundaries import best_end, best_start
from retrieval_index.chunking.units import Span, TokenOffsets, token_spans, word_spans
from retrieval_index.corpus.document import Document
from retrieval_index.errors import ArgumentError

# A 256-token encoder (the MiniLM family) is the reference. English has about 1.3 tokens a word and
# technical text up to 1.6: 160 words fit. Longer windows are not the default for encoders that
# take more, as one vector for a long text blurs what it says.
MAX_DEFAULT_TOKENS = 256
TOKENS_LEFT_FREE = 8  # [CLS], [SEP], and words that split otherwise at the cut
OVERLAP_SHARE = 8  # the default overlap is an eighth of the size


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of a document: `document.text[start:end] == text`.

    `heading` is the part of the title that is encoded with it, or "".
    """

    start: int
    end: int
    text: str
    heading: str = ""

    @property
    def encoded(self) -> str:
        """What the encoder sees."""
        return (
            f"{self.heading}\n{self.text}"
            if self.heading and self.text
            else (self.heading or self.text)
        )


@dataclass(frozen=True)
class Chunker:
    """Cuts documents into overlapping chunks that prefer to end where a paragraph or sentence does.

    Every character that is not whitespace belongs to at least one chunk. The title is encoded
    with each chunk and counts towards its size, up to half of it; the overlap shrinks in
    proportion.

    Args:
        size: Most units in a chunk, title included.
        overlap: Units at the end of a chunk that the next one repeats at most; it starts at a
            sentence when one starts among them. `0 <= overlap < size`.
        token_offsets: Returns the character spans of an encoder's tokens for each of a list of
            texts; the units are then tokens. Default: the units are words.

    Raises:
        ArgumentError: If size or overlap is out of range.
    """

    size: int = 160
    overlap: int = 20
    token_offsets: TokenOffsets | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_sizes(self.size, self.overlap)

    @property
    def units(self) -> str:
        """What size and overlap count: "tokens" or "words"."""
        return "words" if self.token_offsets is None else "tokens"

    @classmethod
    def for_encoder(cls, encoder: Any, size: int | None, overlap: int | None) -> Chunker:
        """Returns the chunker that suits an encoder.

        Args:
            encoder: Has `max_tokens` and perhaps `token_offsets`.
            size: Units; None: what the encoder reads, 160 words or 248 tokens at most.
            overlap: Units; None: an eighth of the size.

        Raises:
            ArgumentError: If a size is out of range or beyond what the encoder reads.
        """
        offsets: TokenOffsets | None = getattr(encoder, "token_offsets", None)
        limit = min(encoder.max_tokens or MAX_DEFAULT_TOKENS, MAX_DEFAULT_TOKENS)
        if size is None:
            free = max(limit // 2, limit - TOKENS_LEFT_FREE)
            size = max(1, limit * 5 // 8 if offsets is None else free)
        elif offsets is not None and encoder.max_tokens and size > encoder.max_tokens:
            raise ArgumentError(
                f"`chunk_size` is {size} tokens, but the encoder {encoder.name} reads "
                f"{encoder.max_tokens} and would drop the rest of each chunk. Use a smaller one."
            )
        return cls(size, size // OVERLAP_SHARE if overlap is None else overlap, offsets)

    def settings(self) -> dict[str, Any]:
        """Returns what decides the chunks, as JSON-ready data."""
        return {"units": self.units, "size": self.size, "overlap": self.overlap}

    def split(self, document: Document) -> list[Chunk]:
        """Returns the chunks of a document, in order; a blank text with a title gives one."""
        title = document.title.strip()
        title_spans, spans = self._spans([title, document.text])
        heading, room = _heading(title, title_spans, self.size)
        if not spans:
            return [Chunk(0, 0, "", heading)]
        overlap = self.overlap * room // self.size
        return [
            Chunk(start, end, document.text[start:end], heading)
            for start, end in _windows(document.text, spans, room, overlap)
        ]

    def _spans(self, texts: list[str]) -> list[list[Span]]:
        if self.token_offsets is None:
            return [word_spans(text) for text in texts]
        return token_spans(texts, self.token_offsets)


def check_sizes(size: int | None, overlap: int | None) -> None:
    """Checks what can be checked before the encoder is known.

    Args:
        size: Chunk size, or None when it is still to be chosen.
        overlap: Overlap, or None.

    Raises:
        ArgumentError: Unless `size >= 1` and `0 <= overlap < size`.
    """
    if size is not None:
        check_positive("chunk_size", size)
    if overlap is None:
        return
    if isinstance(overlap, bool) or not isinstance(overlap, int) or overlap < 0:
        raise ArgumentError(f"`overlap` must be a whole number from 0 on; received: {overlap!r}.")
    if size is not None and overlap >= size:
        raise ArgumentError(
            f"`overlap` must be smaller than `chunk_size` ({size}), or chunks would not move on; "
            f"received: {overlap}. An eighth of it ({size // OVERLAP_SHARE}) is usual."
        )


def _heading(title: str, spans: list[Span], size: int) -> tuple[str, int]:
    """Returns the part of the title to encode, and the units left for the text."""
    kept = min(len(spans), size // 2)
    return (title[: spans[kept - 1][1]] if kept else ""), size - kept


def _windows(text: str, spans: list[Span], size: int, overlap: int) -> Iterator[Span]:
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
            yield start + lead, start + len(piece.rstrip())
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
