"""What a reader of corpus files is, what it is told, and what it answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from retrieval_index.corpus.decoding import Decoding
from retrieval_index.corpus.document import Entry, ProblemLog
from retrieval_index.corpus.fields import FieldMap
from retrieval_index.errors import ArgumentError

# Names are compared in lower case, by what follows their last dot when .gz and .zst are gone.
SUFFIX = re.compile(r"\.(?!gz$|zst$)[^.\sA-Z/\\]+")


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How records become documents.

    Attributes:
        fields: Columns that were named, or None for the default ones.
        decoding: From bytes to text.
        require_ids: Whether a record without an id is a problem, instead of being given one that is
            derived from its text.
    """

    fields: FieldMap | None = None
    decoding: Decoding = field(default_factory=Decoding)
    require_ids: bool = False

    @property
    def columns(self) -> FieldMap:
        """The columns, named or default."""
        return self.fields or FieldMap()


DEFAULT_OPTIONS = ReadOptions()


class Extract(NamedTuple):
    """What a file says.

    Attributes:
        text: Its body.
        title: Its title, or "".
    """

    text: str
    title: str


class UnusableFileError(Exception):
    """A file that makes no document.

    Args:
        reason: Short name of the kind, for the problem log.
        detail: One sentence without a full stop.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads one kind of files. A module that holds one is all that a kind of files takes.

    A module of the folder `retrieval_index/corpus/readers` is found as it lies there. One of
    another package is found through that package's metadata, by an entry point of the group
    "retrieval_index.readers" for each suffix, whose name is the suffix without its dot:

        [project.entry-points."retrieval_index.readers"]
        docx = "my_package.word:WORD"

    It has either `records` or `document`. Both open the file with `open_bytes`, which decompresses
    it, hold one entry at a time, and import large packages when they are called, not before.

    Args:
        kind: Its name, such as "CSV".
        suffixes: Lower-case endings of its file names, such as ".csv", each also followed by .gz or
            .zst.
        records: For files of many documents: called with the path, the name of the file in
            messages, the options and the log, yields documents; what is unusable goes to the log.
        document: For files that are one document: called with the path and the decoding, returns
            what the file says, or raises `UnusableFileError`. The id is the path of the file.
        package: What must be installed besides, or "".
        only_alone: Suffixes that are not read in folders, where such files are mostly no corpus.
        place: Where it stands in lists of kinds. Default: behind those that say it.

    Raises:
        ArgumentError: If it has not one of `records` and `document`, or a suffix is none.
    """

    kind: str
    suffixes: tuple[str, ...]
    records: Callable[[Path, str, ReadOptions, ProblemLog], Iterator[Entry]] | None = None
    document: Callable[[Path, Decoding], Extract] | None = None
    package: str = ""
    only_alone: tuple[str, ...] = ()
    place: int = 1000

    def __post_init__(self) -> None:
        if (self.records is None) == (self.document is None):
            received = "neither" if self.records is None else "both"
            raise ArgumentError(
                f"`records` or `document` must be given to the reader of {self.kind}, and not the "
                f"other; received: {received}."
            )
        if not isinstance(self.suffixes, tuple) or not self.suffixes:
            raise ArgumentError(
                f"`suffixes` must be a tuple such as ('.csv',); received: {self.suffixes!r}."
            )
        for suffix in self.suffixes:
            if not isinstance(suffix, str) or not SUFFIX.fullmatch(suffix):
                raise ArgumentError(
                    "`suffixes` must be lower-case endings such as '.csv', with one dot, and none "
                    f"of a compression; received: {suffix!r}."
                )
