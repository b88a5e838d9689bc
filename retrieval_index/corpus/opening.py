"""Which reader reads a corpus."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from retrieval_index.corpus.byte_source import counted
from retrieval_index.corpus.decoding import Decoding
from retrieval_index.corpus.document import Entry, ProblemLog
from retrieval_index.corpus.fields import ColumnWatch, FieldMap, field_map, shown_columns
from retrieval_index.corpus.files import (
    FileCorpus,
    FolderCorpus,
    PathsCorpus,
    beir_corpus,
    ignored_suffix,
    no_columns,
)
from retrieval_index.corpus.formats import is_readable, readable, reader_of
from retrieval_index.corpus.reader import DEFAULT_OPTIONS, ReadOptions
from retrieval_index.corpus.records import to_document
from retrieval_index.errors import CorpusError


@dataclass(frozen=True, slots=True)
class ItemsCorpus:
    """Documents, mappings, `(id, text)` pairs or plain texts, taken one at a time.

    A `datasets.Dataset` gives mappings of Python values, a `tf.data.Dataset` (also as NumPy, as
    `tfds.as_numpy` makes it) mappings of tensors and bytes; both become plain data.

    Attributes:
        items: The items.
        options: How mappings become documents.
    """

    items: Iterable[object]
    options: ReadOptions = DEFAULT_OPTIONS

    @property
    def description(self) -> str:
        """What is read, for reports."""
        return f"items of a {type(self.items).__name__}"

    def size(self) -> int | None:
        """Returns how many items there are, if they say."""
        try:
            return len(self.items)  # type: ignore[arg-type]
        except (TypeError, AttributeError, NotImplementedError):
            return None

    def read(self, log: ProblemLog) -> Iterator[Entry]:
        """Yields the documents; unusable items go to the log with their number, from 1.

        Raises:
            CorpusError: If a column that is needed is missing (always), or an item is unusable
                (when the log is strict).
        """
        columns = declared_columns(self.items)
        if columns is not None:
            self.options.columns.check_columns(columns, self.description)
        watch = ColumnWatch(self.options.columns, self.description)
        for number, item in enumerate(self.items, start=1):
            where = f"item {number}"
            counted()
            record = _eager(item)
            watch.see(record)
            document = to_document(record, where, log, self.options)
            if document is not None:
                yield Entry(document, where)
        watch.finish()


def declared_columns(items: object) -> list[str] | None:
    """Returns the columns that a data set says it has, or None if it does not say."""
    names = getattr(items, "column_names", None)  # datasets.Dataset; None when streamed
    if isinstance(names, list | tuple):
        return [str(name) for name in names]
    spec = getattr(items, "element_spec", None)  # tf.data.Dataset
    return [str(name) for name in spec] if isinstance(spec, Mapping) else None


def _eager(item: object) -> object:
    """Returns the value of an eager tensor that is a whole item, else the item."""
    numpy = getattr(item, "numpy", None)
    if not callable(numpy):
        return item
    value = numpy()
    return value.item() if getattr(value, "shape", None) == () else value


WILDCARDS = frozenset("*?[")


class Corpus(Protocol):
    """A source of documents that is read once, in order."""

    @property
    def description(self) -> str:
        """What is read, for reports."""
        ...

    def size(self) -> int | None:
        """Returns the bytes of its files or the number of its items; None where unknown."""
        ...

    def read(self, log: ProblemLog) -> Iterator[Entry]:
        """Yields the documents and records unusable entries in `log`."""
        ...


def open_corpus(
    corpus: object,
    fields: FieldMap | Mapping[str, Any] | None = None,
    encoding: str = "utf-8",
    encoding_errors: str = "strict",
    require_ids: bool = False,
) -> Corpus:
    """Returns the reader for a corpus; reads nothing yet.

    Args:
        corpus: One of
            - the path of a file of one of `readable_kinds()`, plain or compressed by gzip or
              Zstandard, which is told by its first bytes;
            - the path of a folder of such files (see `FolderCorpus`), or of a folder in the layout
              of BEIR, of which only corpus.jsonl is read;
            - a pattern such as "notes/**/*.md" (as `glob` has it; the id of a document is its path
              below the part without wildcards);
            - a list or tuple of paths and patterns (the id of a document is its path as given);
            - an iterable of `Document`s, mappings, `(id, text)` pairs or texts, a
              `datasets.Dataset`, or a `tf.data.Dataset` of mappings.
            A list of strings is one of paths if all of them exist, or if one of them has no spaces
            and a readable suffix; otherwise they are texts.
        fields: Which columns (keys, tags) are id, text, title and metadata: a `FieldMap`, or a
            mapping such as `{"id": "doc_id", "text": ["abstract", "body"], "title": "headline",
            "metadata": ["year"]}`. Default: `_id` or `id`, `text`, `title`; all others are
            metadata.
        encoding: Encoding of text files without a byte order mark or `<meta charset>`.
        encoding_errors: What becomes of bytes that do not fit: "strict" (the default: the entry is
            a counted problem), "replace", "ignore" or "backslashreplace".
        require_ids: Whether a document without an id is a counted problem. By default its id is
            derived from its title and text.

    Returns:
        A `Corpus`.

    Raises:
        CorpusError: If a path does not exist or is of no readable kind, a pattern matches nothing,
            or `corpus` is neither a path nor an iterable of documents.
        ArgumentError: If `fields`, `encoding` or `encoding_errors` is not what it may be.
    """
    options = ReadOptions(field_map(fields), Decoding(encoding, encoding_errors), bool(require_ids))
    if isinstance(corpus, str | os.PathLike):
        return _open_path(_path_string(corpus), options)
    if isinstance(corpus, Mapping):
        raise CorpusError(
            f"`corpus` must be {readable()}; received a {type(corpus).__name__} with "
            f"{shown_columns(corpus)}. Of several splits, give one."
        )
    if isinstance(corpus, bytes) or not isinstance(corpus, Iterable):
        raise CorpusError(f"`corpus` must be {readable()}; received: {type(corpus).__name__}.")
    if hasattr(corpus, "to_dict") and hasattr(corpus, "columns"):  # its items are column names
        raise CorpusError(
            f"`corpus` must be {readable()}; received a {type(corpus).__name__}, which is none of "
            "documents: give its rows, such as frame.to_dict('records')."
        )
    if isinstance(corpus, list | tuple) and _are_paths(corpus):
        return _open_paths([_path_string(path) for path in corpus], options)
    return ItemsCorpus(corpus, options)


def _path_string(path: Any) -> str:
    name = os.fspath(path)
    return os.path.expanduser(os.fsdecode(name) if isinstance(name, bytes) else name)


def _are_paths(items: list[object] | tuple[object, ...]) -> bool:
    if not items or not all(isinstance(item, str | os.PathLike) for item in items):
        return False
    if any(not isinstance(item, str) for item in items):
        return True
    names = [str(item) for item in items]
    return any(
        len(name) < 4096 and len(name.split()) == 1 and is_readable(name.strip()) for name in names
    ) or all(len(name) < 4096 and _exists(name) for name in names)


def _exists(name: str) -> bool:
    try:
        return bool(name) and os.path.exists(os.path.expanduser(name))
    except ValueError:  # a NUL: surely a text
        return False


def _open_path(name: str, options: ReadOptions) -> Corpus:
    if _is_pattern(name):
        members, ignored = _matches(name, options, relative=True)
        return _checked(PathsCorpus(tuple(members), name, tuple(ignored)), options)
    return _checked(_member(name, Path(name).name, "", options), options)


def _open_paths(names: list[str], options: ReadOptions) -> Corpus:
    members: list[FileCorpus | FolderCorpus] = []
    ignored: list[str] = []
    for name in names:
        if _is_pattern(name):
            matching, others = _matches(name, options, relative=False)
            members += matching
            ignored += others
        else:
            posix = Path(name).as_posix()
            members.append(_member(name, posix, f"{posix}/", options))
    return _checked(PathsCorpus(tuple(members), f"{len(names)} paths", tuple(ignored)), options)


def _is_pattern(name: str) -> bool:
    return bool(WILDCARDS.intersection(name)) and not _exists(name)


def _matches(
    pattern: str, options: ReadOptions, *, relative: bool
) -> tuple[list[FileCorpus | FolderCorpus], list[str]]:
    """Returns the readable files that match, sorted, and the suffixes of the others.

    Folders that match are not entered: "**" says so.
    """
    paths = sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))
    readable_paths = [path for path in paths if is_readable(path)]
    if not readable_paths:
        found = f"none of the {len(paths)} files is readable" if paths else "no file matches"
        raise CorpusError(f"`corpus` must be {readable()}; received {pattern!r}: {found}.")
    root = ""
    if relative:
        fixed = pattern[: min(pattern.index(mark) for mark in WILDCARDS if mark in pattern)]
        root = fixed[: fixed.rfind("/") + 1] if "/" in fixed else ""
    members = [
        _member(path, Path(path.removeprefix(root)).as_posix(), "", options)
        for path in readable_paths
    ]
    return members, [ignored_suffix(path) for path in paths if not is_readable(path)]


def _member(name: str, shown: str, prefix: str, options: ReadOptions) -> FileCorpus | FolderCorpus:
    path = Path(name)
    if not _exists(name):
        raise CorpusError(f"`corpus` must be {readable()}; there is nothing at {name!r}.")
    if path.is_dir():
        corpus = beir_corpus(path)
        if corpus is None:
            return FolderCorpus(path, options, prefix)
        path, shown = corpus, prefix + corpus.name
    reader = reader_of(path.name)
    if reader is None:
        raise CorpusError(f"`corpus` must be {readable()}; received the file {path}.")
    return FileCorpus(path, reader, shown, options)


def _checked(corpus: Any, options: ReadOptions) -> Corpus:
    """Returns the corpus, unless `fields` was given and nothing in it can have columns."""
    members = corpus.members if isinstance(corpus, PathsCorpus) else (corpus,)
    if options.fields is not None and all(
        isinstance(member, FileCorpus) and member.reader.records is None for member in members
    ):
        raise no_columns(corpus.description)
    opened: Corpus = corpus
    return opened
