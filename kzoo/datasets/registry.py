"""Data sets and corpora known by name. Tables of them are printed from here, never by hand."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from kzoo.datasets.dataset import Dataset
from kzoo.errors import DatasetError

Document = dict[str, Any]
_F = TypeVar("_F", bound=Callable[[], Any])


@dataclass(frozen=True)
class Entry:
    """A line of the table of data sets.

    Args:
        name: the name to load it by.
        kind: ``"labelled"`` (for `load`) or ``"corpus"`` (for `corpus`).
        summary: one line.
        license: the licence of the texts.
        source: where the texts come from.
    """

    name: str
    kind: str
    summary: str
    license: str
    source: str


_LABELLED: dict[str, tuple[Entry, Callable[[], Dataset]]] = {}
_CORPORA: dict[str, tuple[Entry, Callable[[], Iterator[Document]]]] = {}


def register(
    name: str, *, summary: str, license: str = "unknown", source: str = ""
) -> Callable[[_F], _F]:
    """Decorator: make a function without arguments that returns a `Dataset` loadable by name.

    Args:
        name: the name to load it by.
        summary: one line for the table.
        license: the licence of the texts. Default ``"unknown"``.
        source: where the texts come from. Default empty.

    Returns:
        The decorator.

    Raises:
        DatasetError: if the name is taken.
    """
    return _registrar(_LABELLED, Entry(name, "labelled", summary, license, source))


def register_corpus(
    name: str, *, summary: str, license: str = "unknown", source: str = ""
) -> Callable[[_F], _F]:
    """Decorator: make a function without arguments that yields documents available to `corpus`.

    Args:
        name: the name to read it by.
        summary: one line for the table.
        license: the licence of the texts. Default ``"unknown"``.
        source: where the texts come from. Default empty.

    Returns:
        The decorator.

    Raises:
        DatasetError: if the name is taken.
    """
    return _registrar(_CORPORA, Entry(name, "corpus", summary, license, source))


def _registrar(table: dict[str, Any], entry: Entry) -> Callable[[_F], _F]:
    def decorate(function: _F) -> _F:
        if entry.name in table:
            raise DatasetError(f"`name` {entry.name!r} is registered already; choose another one")
        table[entry.name] = (entry, function)
        return function

    return decorate


def labelled() -> dict[str, Callable[[], Dataset]]:
    """The functions behind `load`, by name."""
    return {name: function for name, (_, function) in _LABELLED.items()}


def list_datasets() -> builtins.list[Entry]:
    """All registered data sets and corpora.

    Returns:
        Entries in the order of name and kind.
    """
    entries = [entry for table in (_LABELLED, _CORPORA) for entry, _ in table.values()]
    return sorted(entries, key=lambda entry: (entry.name, entry.kind))


def corpus(name: str) -> Iterator[Document]:
    """Documents of a registered corpus, one at a time.

    Args:
        name: a corpus of `list`, such as ``"python-docs"``.

    Returns:
        An iterator of ``{"_id": str, "title": str, "text": str, "metadata": dict}``.

    Raises:
        DatasetError: if there is no corpus of that name.
    """
    if name not in _CORPORA:
        raise DatasetError(
            f"`name` {name!r} is not a registered corpus; there is "
            + ", ".join(repr(known) for known in sorted(_CORPORA))
        )
    return _CORPORA[name][1]()
