"""Which reader reads a corpus."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from retrieval_index.corpus.document import Entry
from retrieval_index.corpus.folder import FolderCorpus
from retrieval_index.corpus.items import ItemsCorpus
from retrieval_index.corpus.jsonl import JsonlCorpus
from retrieval_index.corpus.problem_log import ProblemLog
from retrieval_index.errors import CorpusError

JSONL_SUFFIXES = frozenset({".jsonl", ".ndjson", ".json"})
READABLE = "a .jsonl file (or .jsonl.gz), a folder of .txt and .md files, or an iterable"


class Corpus(Protocol):
    """A source of documents that is read once, in order."""

    @property
    def description(self) -> str:
        """What is read, for reports."""
        ...

    def read(self, log: ProblemLog) -> Iterator[Entry]:
        """Yields the documents and records unusable entries in `log`."""
        ...


def open_corpus(corpus: object) -> Corpus:
    """Returns the reader for a corpus; reads nothing yet.

    Args:
        corpus: Path of a JSONL file or of a folder, or an iterable of documents.

    Returns:
        A `Corpus`.

    Raises:
        CorpusError: If the path does not exist or is of no readable kind, or if `corpus` is
            neither a path nor an iterable of documents.
    """
    if isinstance(corpus, str | os.PathLike):
        return _open_path(Path(os.fspath(corpus)).expanduser())
    if isinstance(corpus, bytes | Mapping) or not isinstance(corpus, Iterable):
        raise CorpusError(f"`corpus` must be {READABLE}; received: {type(corpus).__name__}.")
    return ItemsCorpus(corpus)


def _open_path(path: Path) -> Corpus:
    if path.is_dir():
        return FolderCorpus(path)
    if not path.exists():
        raise CorpusError(f"`corpus` must be {READABLE}; there is nothing at {path}.")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    if not suffixes or suffixes[-1] not in JSONL_SUFFIXES:
        raise CorpusError(f"`corpus` must be {READABLE}; received the file {path}.")
    return JsonlCorpus(path)
