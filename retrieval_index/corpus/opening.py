"""Which reader reads a corpus."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from retrieval_index.corpus.decoding import Decoding
from retrieval_index.corpus.document import Entry
from retrieval_index.corpus.fields import FieldMap, field_map, shown_columns
from retrieval_index.corpus.files import FileCorpus, PathsCorpus
from retrieval_index.corpus.folder import FolderCorpus, beir_corpus, ignored_suffix, no_columns
from retrieval_index.corpus.formats import format_of, readable
from retrieval_index.corpus.items import ItemsCorpus
from retrieval_index.corpus.options import ReadOptions
from retrieval_index.corpus.problem_log import ProblemLog
from retrieval_index.errors import CorpusError

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
        len(name) < 4096 and len(name.split()) == 1 and format_of(name.strip()) for name in names
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
    readable_paths = [path for path in paths if format_of(path)]
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
    return members, [ignored_suffix(path) for path in paths if not format_of(path)]


def _member(name: str, shown: str, prefix: str, options: ReadOptions) -> FileCorpus | FolderCorpus:
    path = Path(name)
    if not _exists(name):
        raise CorpusError(f"`corpus` must be {readable()}; there is nothing at {name!r}.")
    if path.is_dir():
        corpus = beir_corpus(path)
        if corpus is None:
            return FolderCorpus(path, options, prefix)
        path, shown = corpus, prefix + corpus.name
    format_ = format_of(path.name)
    if format_ is None:
        raise CorpusError(f"`corpus` must be {readable()}; received the file {path}.")
    return FileCorpus(path, format_, shown, options)


def _checked(corpus: Any, options: ReadOptions) -> Corpus:
    """Returns the corpus, unless `fields` was given and nothing in it can have columns."""
    members = corpus.members if isinstance(corpus, PathsCorpus) else (corpus,)
    if options.fields is not None and all(
        isinstance(member, FileCorpus) and member.format_.records is None for member in members
    ):
        raise no_columns(corpus.description)
    opened: Corpus = corpus
    return opened
