"""The kinds of files that can be read: one table, from which messages and help are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from retrieval_index.corpus.byte_source import (
    COMPRESSED_SUFFIXES,
    READ_ERRORS,
    TooLargeError,
    unreadable,
)
from retrieval_index.corpus.decoding import Decoding, UndecodableError
from retrieval_index.corpus.delimited import read_csv, read_tsv
from retrieval_index.corpus.document import Document, Entry
from retrieval_index.corpus.documents import Extract, UnusableFileError
from retrieval_index.corpus.html_page import read_html
from retrieval_index.corpus.jsonl import read_jsonl
from retrieval_index.corpus.options import ReadOptions
from retrieval_index.corpus.parquet import read_parquet
from retrieval_index.corpus.pdf import read_pdf
from retrieval_index.corpus.plain_text import read_markdown, read_text
from retrieval_index.corpus.problem_log import ProblemLog
from retrieval_index.corpus.records import to_document
from retrieval_index.corpus.trec import read_trec

Records = Callable[[Path, str, ReadOptions, ProblemLog], Iterator[Entry]]
OneDocument = Callable[[Path, Decoding], Extract]


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file.

    Attributes:
        kind: Its name.
        suffixes: Lower-case endings of its file names, each also followed by .gz or .zst.
        records: Reader of a file that holds many documents, or None.
        document: Reader of a file that is one document, or None.
        package: What must be installed besides, or "".
        only_alone: Suffixes that are not read in folders, where such files are mostly no corpus.
    """

    kind: str
    suffixes: tuple[str, ...]
    records: Records | None = None
    document: OneDocument | None = None
    package: str = ""
    only_alone: tuple[str, ...] = ()


FORMATS = (
    Format("JSON lines", (".jsonl", ".ndjson", ".json"), read_jsonl, only_alone=(".json",)),
    Format("CSV", (".csv",), read_csv),
    Format("TSV", (".tsv",), read_tsv),
    Format("Parquet", (".parquet",), read_parquet, package="pyarrow"),
    Format("TREC", (".trec", ".trectext", ".sgml"), read_trec),
    Format("text", (".txt",), document=read_text),
    Format("Markdown", (".md", ".markdown"), document=read_markdown),
    Format("HTML", (".html", ".htm"), document=read_html),
    Format("PDF", (".pdf",), document=read_pdf, package="pypdf"),
)
BY_SUFFIX = {suffix: format_ for format_ in FORMATS for suffix in format_.suffixes}


def readable_kinds() -> list[tuple[str, tuple[str, ...], str]]:
    """Returns (kind, suffixes, package it needs or "") of all files that can be read.

    Each suffix may be followed by .gz or .zst (which needs the package zstandard).
    """
    return [(format_.kind, format_.suffixes, format_.package) for format_ in FORMATS]


def readable() -> str:
    """Returns what a corpus may be, for messages."""
    first, *others = BY_SUFFIX
    packed = " or ".join(COMPRESSED_SUFFIXES)
    return (
        f"a {first} file (or {', '.join(others)}; each also with {packed}), a folder of such "
        "files, a list of paths, a glob pattern, or an iterable of documents"
    )


def suffix_of(name: str) -> str:
    """Returns the lower-case suffix of a file name, without that of its compression."""
    lower = name.lower()
    for packed in COMPRESSED_SUFFIXES:
        if lower.endswith(packed):
            lower = lower.removesuffix(packed)
            break
    return Path(lower).suffix


def format_of(name: str, *, in_folder: bool = False) -> Format | None:
    """Returns the kind of a file by its name, or None for one that is not read."""
    suffix = suffix_of(name)
    found = BY_SUFFIX.get(suffix)
    return None if found is None or (in_folder and suffix in found.only_alone) else found


def read_file(
    path: Path, name: str, format_: Format, options: ReadOptions, log: ProblemLog
) -> Iterator[Entry]:
    """Yields the documents of one file.

    Args:
        path: Where it is.
        name: What it is called in messages, and the id of a file that is one document.
        format_: Its kind.
        options: How it is read.
        log: Receives unusable entries; a whole file, if it is one document.

    Raises:
        CorpusError: If the file cannot be read, or has an unusable entry and the log is strict.
    """
    if format_.records is not None:
        yield from format_.records(path, name, options, log)
        return
    assert format_.document is not None
    try:
        text, title = format_.document(path, options.decoding)
    except UndecodableError as error:
        log.add(error.reason, name, error.detail)
    except UnusableFileError as error:
        log.add(error.reason, name, error.detail)
    except TooLargeError:
        log.add("too_large", name, "the file is longer than one document may be")
    except READ_ERRORS as error:
        raise unreadable(path, error) from error
    else:
        document = to_document(Document(name, text, title, {"path": name}), name, log, options)
        if document is not None:
            yield Entry(document, name)
