"""PDF files."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from retrieval_index.corpus.byte_source import needed, open_seekable
from retrieval_index.corpus.decoding import Decoding
from retrieval_index.corpus.lines import (
    MAX_ENTRY_BYTES,
    MAX_PDF_BYTES,
    MAX_PDF_PAGES,
    shown_bytes,
)
from retrieval_index.corpus.reader import Extract, Reader, UnusableFileError

# Lies between two pages: a paragraph's end for the chunker, and a form feed by which the page of a
# passage can be counted.
PAGE_BREAK = "\n\n\f"
# Characters that no text has and that some fonts map their glyphs to.
UNWANTED = {**dict.fromkeys(range(9)), 0x0B: " ", 0x0C: " ", **dict.fromkeys(range(0x0E, 0x20))}


def read_pdf(path: Path, decoding: Decoding) -> Extract:
    """Returns the text layer of a PDF; pages are divided by a blank line and a form feed.

    The page of character `i` is `text.count("\\f", 0, i) + 1`. The title is that of the file's
    information dictionary. A file that only restricts printing or copying opens with the empty
    password and is read.

    Args:
        path: The file.
        decoding: Of no use here: a PDF says itself what its characters are.

    Raises:
        UnusableFileError: If it is damaged, encrypted, has no text, or unfolds to too much.
        TooLargeError: If it is longer than `MAX_PDF_BYTES`.
        OSError, EOFError, zlib.error: If it cannot be read.
        CorpusError: If pypdf is not installed.
    """
    pypdf = needed("pypdf", path)
    with open_seekable(path, MAX_PDF_BYTES) as file, _quiet():
        if not file.read(1024).strip():
            raise UnusableFileError("damaged", "the file is empty")
        file.seek(0)
        try:
            return _extract(pypdf, file)
        except UnusableFileError:
            raise
        # A damaged file makes pypdf raise errors of nearly every kind (its own base class covers
        # only some), RecursionError and MemoryError among them.
        except Exception as error:
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise UnusableFileError("damaged", f"the PDF cannot be read ({reason})") from error


def _extract(pypdf: Any, file: Any) -> Extract:
    reader = pypdf.PdfReader(file, strict=False)
    if reader.is_encrypted:
        _decrypt(reader)
    if len(reader.pages) > MAX_PDF_PAGES:
        raise UnusableFileError("too_large", f"the PDF has more than {MAX_PDF_PAGES} pages")
    pages: list[str] = []
    size = 0
    for page in reader.pages:
        text = page.extract_text().translate(UNWANTED)
        # Unpaired surrogates come of broken character maps.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").strip()
        size += len(text)
        if size > MAX_ENTRY_BYTES:
            limit = shown_bytes(MAX_ENTRY_BYTES)
            raise UnusableFileError("too_large", f"the text of the PDF is longer than {limit}")
        pages.append(text)
    if size == 0:
        raise UnusableFileError(
            "no_text", f"the PDF has no text on its {len(pages)} pages; scans need OCR first"
        )
    return Extract(PAGE_BREAK.join(pages), _title(reader))


def _decrypt(reader: Any) -> None:
    try:
        opened = bool(reader.decrypt(""))
    except Exception as error:  # among them the missing package for AES
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UnusableFileError("encrypted", f"the PDF is encrypted ({reason})") from error
    if not opened:
        raise UnusableFileError("encrypted", "the PDF asks for a password")


def _title(reader: Any) -> str:
    try:
        title = reader.metadata.title if reader.metadata is not None else None
    except Exception:  # the text is good; a title is no more than a help
        return ""
    if not isinstance(title, str):
        return ""
    bare = title.translate(UNWANTED).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return " ".join(bare.split())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps pypdf from telling every defect it got over to standard error."""
    logger = logging.getLogger("pypdf")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


PDF = Reader("PDF", (".pdf",), document=read_pdf, package="pypdf", place=9)
