"""Single files, folders, and lists of both."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from retrieval_index.corpus.byte_source import COMPRESSED_SUFFIXES, bytes_of_files
from retrieval_index.corpus.document import Entry, ProblemLog
from retrieval_index.corpus.fields import ColumnError
from retrieval_index.corpus.formats import read_file, reader_of
from retrieval_index.corpus.reader import DEFAULT_OPTIONS, Reader, ReadOptions
from retrieval_index.errors import CorpusError


@dataclass(frozen=True, slots=True)
class FileCorpus:
    """One file.

    Attributes:
        path: Where it is.
        reader: Its reader.
        name: What it is called in messages, and the id of a file that is one document.
        options: How it is read.
    """

    path: Path
    reader: Reader
    name: str
    options: ReadOptions = DEFAULT_OPTIONS

    @property
    def description(self) -> str:
        """What is read, for reports."""
        return str(self.path)

    def size(self) -> int | None:
        """Returns its bytes."""
        return bytes_of_files([self.path])

    def read(self, log: ProblemLog) -> Iterator[Entry]:
        """Yields the documents; unusable ones go to the log.

        Raises:
            CorpusError: If the file cannot be read (always), or an entry is unusable (when the log
                is strict).
        """
        yield from read_file(self.path, self.name, self.reader, self.options, log)


@dataclass(frozen=True, slots=True)
class PathsCorpus:
    """Several files and folders, one after the other.

    Attributes:
        members: Their readers.
        description: What is read, for reports.
        ignored: Suffixes of the files that a pattern matched and that are of no readable kind.
    """

    members: tuple[FileCorpus | FolderCorpus, ...]
    description: str
    ignored: tuple[str, ...] = ()

    def size(self) -> int | None:
        """Returns the bytes of all."""
        return sum(member.size() or 0 for member in self.members)

    def read(self, log: ProblemLog) -> Iterator[Entry]:
        """Yields the documents of all; unusable ones go to the log.

        Raises:
            CorpusError: As those of the members.
        """
        for suffix in self.ignored:
            log.ignore_file(suffix)
        for member in self.members:
            yield from member.read(log)


BEIR_CORPUS = "corpus.jsonl"


@dataclass(frozen=True, slots=True)
class FolderCorpus:
    """All readable files under a folder, sorted by path.

    A file that is one document (text, Markdown, HTML, PDF) has its relative path as id and under
    `metadata["path"]`. A file of many (JSON lines, CSV, TSV, Parquet, TREC) is read as the corpus
    that it is, with the ids in it; one that has no column for the text is a counted problem, unless
    `fields` was given. Hidden files and folders (with a leading dot) are no part of the corpus, nor
    are .json files, which in folders are mostly settings. What is not read is counted by suffix.

    Attributes:
        path: The folder.
        options: How its files are read.
        prefix: What goes before the relative paths, in ids too.
    """

    path: Path
    options: ReadOptions = DEFAULT_OPTIONS
    prefix: str = ""

    @property
    def description(self) -> str:
        """What is read, for reports."""
        return f"{self.path}{os.sep}**"

    def size(self) -> int | None:
        """Returns the bytes of its readable files, after looking at all names."""
        readable = (p for p in self._files() if reader_of(p.name, in_folder=True) is not None)
        return bytes_of_files(readable)

    def read(self, log: ProblemLog) -> Iterator[Entry]:
        """Yields the documents; unusable ones go to the log.

        Raises:
            CorpusError: If a file or folder cannot be read (always), or an entry is unusable (when
                the log is strict), or `fields` was given and no file has columns.
        """
        tables = 0
        for path in self._files():
            reader = reader_of(path.name, in_folder=True)
            if reader is None or not _is_regular(path):
                log.ignore_file(ignored_suffix(path.name))
                continue
            name = self.prefix + path.relative_to(self.path).as_posix()
            tables += reader.records is not None
            try:
                yield from read_file(path, name, reader, self.options, log)
            except ColumnError as error:
                if self.options.fields is not None:
                    raise
                log.add("no_text_column", name, str(error).removesuffix("."))
        if self.options.fields is not None and not tables:
            raise no_columns(self.description)

    def _files(self) -> Iterator[Path]:
        def refuse(error: OSError) -> None:
            raise CorpusError(f"`corpus` folder cannot be read: {error}.") from error

        # Only one folder's names are held at a time. Sorting each level makes the order the same on
        # every machine; links to folders are not followed, as they may form a circle.
        for folder, subfolders, names in os.walk(self.path, onerror=refuse):
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith("."):
                    yield Path(folder, name)


def beir_corpus(folder: Path) -> Path | None:
    """Returns the corpus of a folder in the layout of BEIR, or None for any other folder.

    That layout has corpus.jsonl with queries.jsonl or qrels/ beside it, which are no documents.
    """

    def there(name: str) -> Path | None:
        paths = (folder / f"{name}{packed}" for packed in ("", *COMPRESSED_SUFFIXES))
        return next((path for path in paths if path.is_file()), None)

    corpus = there(BEIR_CORPUS)
    if corpus is None or not ((folder / "qrels").is_dir() or there("queries.jsonl")):
        return None
    return corpus


def no_columns(name: str) -> CorpusError:
    """Returns the error for `fields=` where nothing has columns."""
    return CorpusError(
        f"`fields` names columns, but {name} holds only files that are one document each. Leave "
        "`fields` out."
    )


def ignored_suffix(name: str) -> str:
    """Returns the suffix under which a file that is not read is counted."""
    path = Path(name.lower())
    inner = Path(path.stem).suffix if path.suffix in COMPRESSED_SUFFIXES else ""
    return inner + path.suffix


def _is_regular(path: Path) -> bool:
    """Tells files from pipes and sockets, which would be waited for without end."""
    try:
        path.stat()
    except OSError as error:
        raise CorpusError(f"`corpus` file {path} cannot be read: {error}.") from error
    return path.is_file()
