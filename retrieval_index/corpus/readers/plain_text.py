"""Text and Markdown files."""

from __future__ import annotations

import re
from pathlib import Path

from retrieval_index.corpus.byte_source import open_bytes, read_at_most
from retrieval_index.corpus.decoding import Decoding
from retrieval_index.corpus.lines import MAX_ENTRY_BYTES
from retrieval_index.corpus.reader import Extract, Reader

MARKDOWN_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+([^\n]+)$", re.MULTILINE)


def read_text(path: Path, decoding: Decoding) -> Extract:
    """Returns a text file as it is, which has no title. Line ends become `\\n`.

    Raises:
        UndecodableError, TooLargeError: If it is no text, or too long.
        OSError, EOFError, zlib.error: If it cannot be read.
    """
    with open_bytes(path) as file:
        return Extract(decoding.decode_file(read_at_most(file, MAX_ENTRY_BYTES)), "")


def read_markdown(path: Path, decoding: Decoding) -> Extract:
    """Returns a Markdown file as it is; its title is the first heading.

    Raises:
        UndecodableError, TooLargeError: If it is no text, or too long.
        OSError, EOFError, zlib.error: If it cannot be read.
    """
    text = read_text(path, decoding).text
    heading = MARKDOWN_HEADING.search(text)
    return Extract(text, _unmarked(heading.group(1).strip()) if heading else "")


def _unmarked(heading: str) -> str:
    """Returns a heading without the marks that may close it: "C# ##" is "C#"."""
    bare = heading.rstrip("#")
    return bare.rstrip() if not bare or bare[-1].isspace() else heading


TEXT = Reader("text", (".txt",), document=read_text, place=6)
MARKDOWN = Reader("Markdown", (".md", ".markdown"), document=read_markdown, place=7)
