"""The kinds of files that can be read: the readers of this package, and of others by metadata."""

from __future__ import annotations

import pkgutil
import warnings
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval_index.corpus import readers
from retrieval_index.corpus.byte_source import (
    COMPRESSED_SUFFIXES,
    READ_ERRORS,
    TooLargeError,
    unreadable,
)
from retrieval_index.corpus.decoding import UndecodableError
from retrieval_index.corpus.document import Document, Entry, ProblemLog
from retrieval_index.corpus.reader import Reader, ReadOptions, UnusableFileError
from retrieval_index.corpus.records import to_document
from retrieval_index.errors import CorpusError, RetrievalIndexError, RetrievalIndexWarning

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP = "retrieval_index.readers"


@cache
def built_in() -> dict[str, Reader]:
    """Returns suffix -> reader of this package, in the order of lists."""
    found: list[Reader] = []
    for module in pkgutil.iter_modules(readers.__path__):
        made = import_module(f"{readers.__name__}.{module.name}")
        found += [thing for thing in vars(made).values() if isinstance(thing, Reader)]
    by_suffix: dict[str, Reader] = {}
    for reader in sorted(found, key=lambda reader: (reader.place, reader.kind)):
        for suffix in reader.suffixes:
            if suffix in by_suffix:
                raise RetrievalIndexError(
                    f"The suffix {suffix} is that of two readers, {by_suffix[suffix].kind} and "
                    f"{reader.kind}. Take it out of one."
                )
            by_suffix[suffix] = reader
    return by_suffix


@cache
def plugged_in() -> dict[str, list[EntryPoint]]:
    """Returns suffix -> entry points of other packages, in the order of the suffixes.

    None of them is imported. There is one for each suffix, unless two packages want the same.
    """
    from importlib.metadata import entry_points

    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        suffix = f".{point.name.lower().removeprefix('.')}"
        if suffix in built_in():
            warnings.warn(
                f"The reader {point.value} of {_owner(point)} is not used: {suffix} files are read "
                f"by retrieval_index itself, as {built_in()[suffix].kind}.",
                RetrievalIndexWarning,
                stacklevel=2,
            )
        elif point.value not in [other.value for other in found.setdefault(suffix, [])]:
            found[suffix].append(point)
    return dict(sorted(found.items()))


@cache
def _load(suffix: str) -> Reader:
    """Returns the reader of another package.

    Raises:
        CorpusError: If it cannot be imported or is no reader of this suffix, or if two packages
            have one.
    """
    first, *others = plugged_in()[suffix]
    if others:
        owners = ", ".join(f"{point.value} of {_owner(point)}" for point in (first, *others))
        raise CorpusError(
            f"`corpus`: {suffix} files have a reader in several packages ({owners}). Uninstall all "
            "but one of them."
        )
    where = f"the reader {first.value} of {_owner(first)}"
    try:
        reader = first.load()
    except Exception as error:  # whatever the module of another package raises
        raise CorpusError(
            f"`corpus`: {where} for {suffix} files cannot be imported ({type(error).__name__}: "
            f"{error}). Update or remove that package."
        ) from error
    if not isinstance(reader, Reader):
        raise CorpusError(
            f"`corpus`: {where} must be a `retrieval_index.corpus.reader.Reader`; received: "
            f"{type(reader).__name__}."
        )
    if suffix not in reader.suffixes:
        raise CorpusError(
            f"`corpus`: {where} is registered for {suffix} and must have it among its `suffixes`; "
            f"received: {', '.join(reader.suffixes)}."
        )
    return reader


def _owner(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.module


def readable_kinds() -> list[tuple[str, tuple[str, ...], str]]:
    """Returns (kind, suffixes, package it needs or "") of all files that can be read.

    Each suffix may be followed by .gz or .zst (which needs the package zstandard). The kind of what
    another package reads is the name of that package, so that none of them is imported for a list.
    """
    own = dict.fromkeys(built_in().values())
    others: dict[str, list[str]] = {}
    for suffix, points in plugged_in().items():
        for point in points:
            others.setdefault(_owner(point), []).append(suffix)
    return [
        *((reader.kind, reader.suffixes, reader.package) for reader in own),
        *((owner, tuple(suffixes), "") for owner, suffixes in sorted(others.items())),
    ]


def readable() -> str:
    """Returns what a corpus may be, for messages."""
    first, *others = [*built_in(), *plugged_in()]
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


def is_readable(name: str) -> bool:
    """Returns whether a file of this name has a reader; imports none of another package."""
    suffix = suffix_of(name)
    return suffix in built_in() or suffix in plugged_in()


def reader_of(name: str, *, in_folder: bool = False) -> Reader | None:
    """Returns the reader of a file by its name, or None for one that is not read.

    Raises:
        CorpusError: If it is in another package and cannot be used.
    """
    suffix = suffix_of(name)
    found = built_in().get(suffix)
    if found is None and suffix in plugged_in():
        found = _load(suffix)
    return None if found is None or (in_folder and suffix in found.only_alone) else found


def read_file(
    path: Path, name: str, reader: Reader, options: ReadOptions, log: ProblemLog
) -> Iterator[Entry]:
    """Yields the documents of one file.

    Args:
        path: Where it is.
        name: What it is called in messages, and the id of a file that is one document.
        reader: Its reader.
        options: How it is read.
        log: Receives unusable entries; a whole file, if it is one document.

    Raises:
        CorpusError: If the file cannot be read, or has an unusable entry and the log is strict.
    """
    if reader.records is not None:
        yield from reader.records(path, name, options, log)
        return
    assert reader.document is not None
    try:
        text, title = reader.document(path, options.decoding)
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
