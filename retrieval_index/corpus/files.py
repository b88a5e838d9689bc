"""Single files, and lists of files and folders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from retrieval_index.corpus.document import Entry
from retrieval_index.corpus.folder import FolderCorpus
from retrieval_index.corpus.formats import Format, read_file
from retrieval_index.corpus.meter import bytes_of_files
from retrieval_index.corpus.options import DEFAULT_OPTIONS, ReadOptions
from retrieval_index.corpus.problem_log import ProblemLog


@dataclass(frozen=True, slots=True)
class FileCorpus:
    """One file.

    Attributes:
        path: Where it is.
        format_: Its kind.
        name: What it is called in messages, and the id of a file that is one document.
        options: How it is read.
    """

    path: Path
    format_: Format
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
        yield from read_file(self.path, self.name, self.format_, self.options, log)


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
