"""Lines of a file as bytes, each with its number and byte offset, and how large they may be."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import NamedTuple

from retrieval_index.corpus.decoding import Decoding

BLOCK = 1 << 18


class RawLine(NamedTuple):
    """One line.

    Attributes:
        number: From 1.
        offset: Bytes before it, in the decompressed file.
        data: Its bytes with the line end, without a byte order mark; None if it is longer than
            `MAX_ENTRY_BYTES`.
        decoding: What makes it a text.
    """

    number: int
    offset: int
    data: bytes | None
    decoding: Decoding

    def text(self) -> str:
        """Returns the characters.

        Raises:
            UndecodableError: If the bytes do not fit the encoding.
        """
        assert self.data is not None
        return self.decoding.decode(self.data, self.offset)


def raw_lines(file: io.BufferedIOBase, decoding: Decoding) -> Iterator[RawLine]:
    """Yields the lines of a file from its beginning, holding one at a time.

    Raises:
        ArgumentError: If the encoding cannot be split into lines.
    """
    head = file.read(4)
    decoding, offset = decoding.for_file(head)
    decoding.check_lines()
    lines = _split(file, head[offset:], "\n".encode(decoding.encoding))
    for number, (data, size) in enumerate(lines, start=1):
        yield RawLine(number, offset, data, decoding)
        offset += size


def _split(
    file: io.BufferedIOBase, head: bytes, line_feed: bytes
) -> Iterator[tuple[bytes | None, int]]:
    """Yields each line, or None for one that is too long, and its size in bytes."""
    width = len(line_feed)
    buffer = bytearray(head)
    begin = searched = dropped = 0
    while True:
        # In UTF-16 and UTF-32 these bytes may also be the halves of two other characters.
        found = buffer.find(line_feed, searched)
        while found % width and found >= 0:
            found = buffer.find(line_feed, found + 1)
        if found >= 0:
            end = found + width
            size = dropped + end - begin
            yield (bytes(buffer[begin:end]) if size <= MAX_ENTRY_BYTES else None), size
            begin = searched = end
            dropped = 0
            continue
        del buffer[:begin]
        searched = len(buffer) - len(buffer) % width
        begin = 0
        if len(buffer) > MAX_ENTRY_BYTES:
            del buffer[:searched]
            dropped, searched = dropped + searched, 0
        block = file.read(BLOCK)
        if not block:
            break
        buffer += block
    if dropped or buffer:
        yield (bytes(buffer) if not dropped else None), dropped + len(buffer)


# How large one entry may be; a corpus may be of any length. Every reader holds one entry at a
# time, so these bounds and not the corpus decide about memory, also when a few kilobytes of gzip
# unfold to gigabytes.

MAX_ENTRY_BYTES = 64 << 20  # one line, row or text file, decompressed
MAX_PDF_BYTES = 1 << 30  # a PDF is mostly pictures, of which nothing is kept
MAX_PDF_PAGES = 20_000
MAX_ARRAY_VALUES = 1_000  # in one metadata value: more is a picture or a sound, not a fact about it
COLUMN_WINDOW = 1_000  # records within which every column that is named by `fields` must turn up


def shown_bytes(count: int) -> str:
    """Returns a count of bytes in MiB."""
    return f"{count / (1 << 20):,.0f} MiB"
