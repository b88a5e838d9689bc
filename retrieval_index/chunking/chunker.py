"""From documents to passages that fit the encoder and know their characters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from retrieval_index.chunking.methods import CHARACTERS, DOCUMENTS, METHODS, find_method
from retrieval_index.chunking.methods import methods as methods
from retrieval_index.chunking.source import Chunk as Chunk
from retrieval_index.chunking.source import Source
from retrieval_index.chunking.units import Span, TokenOffsets, token_spans, word_spans
from retrieval_index.corpus.document import Document
from retrieval_index.errors import ArgumentError, check_positive

# A 256-token encoder (the MiniLM family) is the reference. English has about 1.3 tokens a word and
# technical text up to 1.6: 160 words fit. Longer windows are not the default for encoders that
# take more, as one vector for a long text blurs what it says.
MAX_DEFAULT_TOKENS = 256
DEFAULT_WORDS = 160
TOKENS_LEFT_FREE = 8  # [CLS], [SEP], and words that split otherwise at the cut
CHARACTERS_A_WORD = 6  # of English, the space included
OVERLAP_SHARE = 8  # the default overlap is an eighth of the size


def default_size(units: str, max_tokens: int | None) -> int:
    """Returns the size of chunks for an encoder that reads `max_tokens` (None: any number)."""
    limit = min(max_tokens or MAX_DEFAULT_TOKENS, MAX_DEFAULT_TOKENS)
    if units == "tokens":
        return max(1, limit // 2, limit - TOKENS_LEFT_FREE)
    words = limit * DEFAULT_WORDS // MAX_DEFAULT_TOKENS
    return max(1, words * CHARACTERS_A_WORD if units == CHARACTERS else words)


def check_sizes(size: int | None, overlap: int | None, method: str = "tokens") -> None:
    """Checks what can be checked before the encoder is known.

    Args:
        size: Chunk size, or None when it is still to be chosen.
        overlap: Overlap, or None.
        method: Name of a method of chunking.

    Raises:
        ArgumentError: If the method is unknown, unless `size >= 1` and `0 <= overlap < size`, or
            if either is given with the method "none".
    """
    if find_method(method).units == DOCUMENTS and not (size is None and overlap is None):
        raise ArgumentError(
            "`chunk_size` and `overlap` have no meaning with `method` 'none', which makes one "
            f"passage of each document; received: {size!r} and {overlap!r}."
        )
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


MAX_DOCUMENTS = 64
# The spans of a batch are a tuple for each token: more keeps the garbage collector busy.
MAX_CHARACTERS = 100_000


def batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Yields the documents in order, in lists of 64, fewer where they are long."""
    batch: list[Document] = []
    characters = 0
    for document in documents:
        length = len(document.text) + len(document.title)
        if batch and characters + length > MAX_CHARACTERS:
            yield batch
            batch, characters = [], 0
        batch.append(document)
        characters += length
        if len(batch) == MAX_DOCUMENTS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


TOKENS, WORDS = "tokens", "words"


@dataclass(frozen=True)
class Chunker:
    """Cuts documents into passages.

    Every character that is not whitespace belongs to at least one chunk. The title is encoded
    with each chunk and counts towards its size, up to half of it; the overlap shrinks in
    proportion.

    Args:
        size: Most units in a chunk, title included.
        overlap: Units at the end of a chunk that the next one repeats at most.
            `0 <= overlap < size`.
        token_offsets: Returns the character spans of an encoder's tokens for each of a list of
            texts; the units are then tokens. Default: the units are words.
        method: How to cut:

            - "tokens": windows of `size` units that prefer to end where a paragraph or sentence
              does. The overlap starts at a sentence when one starts among its units.
            - "sentences": whole sentences, as many as fit; overlap in whole sentences. A sentence
              beyond `size` is cut between units.
            - "paragraphs": what lies between blank lines, as much as fits; overlap in whole
              paragraphs. A paragraph beyond `size` is taken by its sentences.
            - "headings": the sections of a Markdown text, each encoded under its path of headings
              "A > B". A section beyond `size` is taken by its paragraphs.
            - "characters": `size` characters (Unicode code points), whatever the encoder's tokens.
              None is cut from its combining marks.
            - "none": one passage a document, title and all; the encoder reads what it can of it.
              Has neither size nor overlap.

    Raises:
        ArgumentError: If the method is unknown, size or overlap out of range, or either given
            with the method "none".
    """

    size: int = DEFAULT_WORDS
    overlap: int = DEFAULT_WORDS // OVERLAP_SHARE
    token_offsets: TokenOffsets | None = field(default=None, compare=False, repr=False)
    method: str = "tokens"

    def __post_init__(self) -> None:
        sizes = (self.size, self.overlap)
        if self.method == "none" and sizes in ((1, 0), (type(self).size, type(self).overlap)):
            # One document each, of which nothing is repeated.
            object.__setattr__(self, "size", 1)
            object.__setattr__(self, "overlap", 0)
        else:
            check_sizes(self.size, self.overlap, self.method)

    @property
    def units(self) -> str:
        """What size, overlap and `Chunk.tokens` count.

        "tokens" of the encoder where it tells them, else "words"; "characters" with the method of
        that name, and "documents" with "none".
        """
        fixed = METHODS[self.method].units
        return fixed or (WORDS if self.token_offsets is None else TOKENS)

    @classmethod
    def for_encoder(
        cls, encoder: Any, size: int | None, overlap: int | None, method: str | None = None
    ) -> Chunker:
        """Returns the chunker that suits an encoder.

        Args:
            encoder: Has `max_tokens` and perhaps `token_offsets`.
            size: Units; None: what the encoder reads, 248 tokens, 160 words or 960 characters at
                most.
            overlap: Units; None: an eighth of the size.
            method: See `Chunker`. None: "tokens"; "none" where the encoder finds vectors by
                document id (`encode_documents`), which leaves no other.

        Raises:
            ArgumentError: If the method is unknown or not for this encoder, or a size is out of
                range or beyond what the encoder reads.
        """
        by_id = hasattr(encoder, "encode_documents")
        method = ("none" if by_id else "tokens") if method is None else method
        check_sizes(size, overlap, method)
        if by_id:
            _check_whole(method, encoder)
        offsets: TokenOffsets | None = getattr(encoder, "token_offsets", None)
        units = METHODS[method].units or (WORDS if offsets is None else TOKENS)
        if units == DOCUMENTS:
            return cls(1, 0, offsets, method)
        if size is None:
            size = default_size(units, encoder.max_tokens)
        elif units == TOKENS and encoder.max_tokens and size > encoder.max_tokens:
            raise ArgumentError(
                f"`chunk_size` is {size} tokens, but the encoder {encoder.name} reads "
                f"{encoder.max_tokens} and would drop the rest of each chunk. Use a smaller one."
            )
        return cls(size, size // OVERLAP_SHARE if overlap is None else overlap, offsets, method)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], encoder: Any) -> Chunker:
        """Returns the chunker that `settings()` describes, for documents added later.

        Args:
            settings: What `settings()` returned.
            encoder: The encoder of the index.

        Raises:
            ArgumentError: If the settings are malformed, or count tokens and the encoder tells
                none.
        """
        expected = {"method", "units", "size", "overlap"}
        if set(settings) != expected:
            raise ArgumentError(
                f"`settings` must have the keys {sorted(expected)}; received: {sorted(settings)}."
            )
        offsets: TokenOffsets | None = getattr(encoder, "token_offsets", None)
        if settings["units"] == TOKENS and offsets is None:
            raise ArgumentError(
                f"`settings` count tokens of the encoder, but {encoder.name} has no "
                "`token_offsets`. Use the encoder the index was built with."
            )
        if settings["units"] == WORDS:
            offsets = None
        chunker = cls(settings["size"], settings["overlap"], offsets, settings["method"])
        if hasattr(encoder, "encode_documents"):
            _check_whole(chunker.method, encoder)
        if chunker.units != settings["units"]:
            raise ArgumentError(
                f"`settings` with the method {chunker.method!r} must count {chunker.units}; "
                f"received: {settings['units']!r}."
            )
        return chunker

    def settings(self) -> dict[str, Any]:
        """Returns what decides the chunks, as JSON-ready data: method, units, size, overlap."""
        return {
            "method": self.method,
            "units": self.units,
            "size": self.size,
            "overlap": self.overlap,
        }

    def split(self, document: Document) -> list[Chunk]:
        """Returns the chunks of a document, in order; a blank text with a title gives one."""
        title = document.title.strip()
        title_spans, spans = self._spans([title, document.text])
        return self._chunks(document, title, title_spans, spans)

    def split_many(self, documents: Iterable[Document]) -> Iterator[tuple[Document, list[Chunk]]]:
        """Yields each document with its chunks, in order; a tokeniser gets many at once.

        The same chunks as `split`, sooner where the tokeniser works on a batch in parallel.
        Documents are read ahead: 64 of them, or 100,000 characters.
        """
        for batch in batches(documents):
            titles = [document.title.strip() for document in batch]
            texts = [*titles, *(document.text for document in batch)]
            spans = self._spans(texts)
            for row, document in enumerate(batch):
                # Not all at once: the spans of a batch are larger than its texts.
                text_spans, spans[len(batch) + row] = spans[len(batch) + row], []
                yield document, self._chunks(document, titles[row], spans[row], text_spans)

    def _chunks(
        self, document: Document, title: str, title_spans: list[Span], spans: list[Span]
    ) -> list[Chunk]:
        source = Source(document.text, spans, title, title_spans)
        chunks = list(METHODS[self.method].split(source, self.size, self.overlap))
        return chunks or [self._of_title(source)]

    def _of_title(self, source: Source) -> Chunk:
        """Returns the one chunk of a document without text."""
        if self.units == DOCUMENTS:
            return Chunk(0, 0, "", source.title, 1)
        if self.units == CHARACTERS:
            heading = source.title[: self.size // 2]
            return Chunk(0, 0, "", heading, len(heading))
        return Chunk(0, 0, "", *source.heading(self.size))

    def _spans(self, texts: list[str]) -> list[list[Span]]:
        if METHODS[self.method].units is not None:
            return [[] for _ in texts]
        if self.token_offsets is None:
            return [word_spans(text) for text in texts]
        return token_spans(texts, self.token_offsets)


def _check_whole(method: str, encoder: Any) -> None:
    if METHODS[method].units != DOCUMENTS:
        raise ArgumentError(
            f"`method` must be 'none' with {encoder.name}, which has one vector for each document; "
            f"received: {method!r}."
        )
