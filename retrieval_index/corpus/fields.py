"""Which column of a corpus is the id, the text, the title."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from retrieval_index.corpus.lines import COLUMN_WINDOW
from retrieval_index.errors import ArgumentError, CorpusError

# BEIR writes `_id`; most other data sets write `id`.
ID_COLUMNS = ("_id", "id")
TEXT_COLUMN = "text"
TITLE_COLUMN = "title"
METADATA_COLUMN = "metadata"  # a mapping in it is merged into the metadata
TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}


class ColumnError(CorpusError):
    """A corpus lacks a column that is needed."""


@dataclass(frozen=True, slots=True)
class FieldMap:
    """Names of the columns (keys, tags) that make a document.

    Attributes:
        id: Column of the id. Default: `_id`, or else `id`; without either, ids are derived.
        text: Columns of the text, joined by a blank line where there are several. Default: `text`.
        title: Column of the title. Default: `title`, where there is one.
        metadata: Columns kept as metadata; `()` keeps none, None (the default) all others. A
            mapping from column to "str", "int", "float" or "bool" also converts the values, which
            a CSV file, where everything is text, needs before a filter can compare numbers; an
            empty cell becomes null.
    """

    id: str | None = None
    text: tuple[str, ...] | None = None
    title: str | None = None
    metadata: tuple[str, ...] | None = None
    types: tuple[tuple[str, str], ...] = ()

    @property
    def id_columns(self) -> tuple[str, ...]:
        """Columns to look for the id in, in this order."""
        return ID_COLUMNS if self.id is None else (self.id,)

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns that make the text."""
        return self.text or (TEXT_COLUMN,)

    @property
    def title_column(self) -> str:
        """Column of the title."""
        return self.title or TITLE_COLUMN

    @property
    def named(self) -> tuple[str, ...]:
        """All columns that were asked for by name."""
        single = (name for name in (self.id, self.title) if name is not None)
        return tuple(dict.fromkeys((*single, *(self.text or ()), *(self.metadata or ()))))

    @property
    def projection(self) -> tuple[str, ...] | None:
        """The columns that need be read, or None for all of them."""
        if self.metadata is None:
            return None
        used = (*self.id_columns, *self.text_columns, self.title_column, *self.metadata)
        return tuple(dict.fromkeys(used))

    def metadata_of(self, record: Mapping[Any, Any]) -> Any:
        """Returns the metadata of a record.

        That is a mapping; or what the record has under `metadata`, if that is of no use.

        Raises:
            ValueError: If a value cannot be converted to the type asked for.
        """
        if self.metadata is not None:
            kept = {name: record[name] for name in self.metadata if name in record}
        else:
            used = {*self.id_columns, *self.text_columns, self.title_column}
            kept = {key: value for key, value in record.items() if key not in used}
            nested = kept.pop(METADATA_COLUMN, None)
            if isinstance(nested, Mapping):
                kept |= nested
            elif nested is not None:
                return nested
        for name, kind in self.types:
            if name in kept:
                kept[name] = _converted(name, kept[name], kind)
        return kept

    def check_columns(self, columns: Iterable[object], name: str) -> None:
        """Makes sure that a table has the columns this map needs.

        Args:
            columns: Names of the columns of the table.
            name: Name of the corpus, for the message.

        Raises:
            ColumnError: If a column that was named, or one for the text, is missing.
        """
        known = [str(column) for column in columns]
        for column in self.named:
            if column not in known:
                raise ColumnError(
                    f"`fields` names the column {column!r}, which {name} does not have"
                    f"{_nearest(column, known)}; its columns: {shown_columns(known)}."
                )
        if self.text is None and TEXT_COLUMN not in known:
            raise ColumnError(
                f"`corpus` {name} has no column 'text'; its columns: {shown_columns(known)}. Name "
                "the one that holds the text: fields={'text': 'NAME'}."
            )


class ColumnWatch:
    """Finds out whether records that have no common header ever have the columns asked for.

    Args:
        fields: The columns.
        name: Name of the corpus, for the message.
    """

    def __init__(self, fields: FieldMap, name: str) -> None:
        self._missing = set(fields.named)
        self._fields = fields
        self._name = name
        self._seen: dict[str, None] = {}
        self._records = 0

    def see(self, record: object) -> None:
        """Takes note of the columns of one record.

        Raises:
            ColumnError: If none of the first `COLUMN_WINDOW` records had one of the columns.
        """
        if self._missing and isinstance(record, Mapping):
            self._missing.difference_update(record)
            if len(self._seen) < COLUMN_WINDOW:
                self._seen.update((str(key), None) for key in record)
            self._records += 1
            if self._records >= COLUMN_WINDOW:
                self.finish()

    def finish(self) -> None:
        """Ends the watch.

        Raises:
            ColumnError: If a column never turned up.
        """
        if self._missing and self._records:
            self._fields.check_columns(self._seen, self._name)


def field_map(value: FieldMap | Mapping[str, Any] | None) -> FieldMap | None:
    """Returns the map that `fields=` stands for.

    Args:
        value: A `FieldMap`, or a mapping with some of its attributes, where `text` and `metadata`
            may also be a single name or a list: `{"id": "doc_id", "text": ["abstract", "body"],
            "title": "headline", "metadata": {"year": "int"}}`. None stands for the default columns.

    Raises:
        ArgumentError: If a key or a value is not what it may be.
    """
    if value is None or isinstance(value, FieldMap):
        return value
    if not isinstance(value, Mapping):
        raise ArgumentError(
            "`fields` must map 'id', 'text', 'title' or 'metadata' to names of columns; "
            f"received: {type(value).__name__}."
        )
    known = [item.name for item in fields(FieldMap) if item.name != "types"]
    for key in value:
        if key not in known:
            raise ArgumentError(
                f"`fields` has the key {key!r}{_nearest(str(key), known)}; known keys: "
                f"{', '.join(known)}."
            )
    metadata = value.get("metadata")
    types: tuple[tuple[str, str], ...] = ()
    if isinstance(metadata, Mapping):
        types = tuple((_name("metadata", name), _type(kind)) for name, kind in metadata.items())
    text = _names("text", value.get("text"))
    if text == ():
        raise ArgumentError("`fields` must name at least one column for 'text'; received: none.")
    return FieldMap(
        id=None if value.get("id") is None else _name("id", value["id"]),
        text=text,
        title=None if value.get("title") is None else _name("title", value["title"]),
        metadata=_names("metadata", metadata),
        types=types,
    )


def shown_columns(columns: Iterable[object], most: int = 20) -> str:
    """Returns a list of names for a message, shortened."""
    names = [str(column) for column in columns]
    short = [repr(name if len(name) <= 30 else f"{name[:27]}...") for name in names[:most]]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(short) or "none") + more


def _nearest(name: str, known: list[str]) -> str:
    match = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""


def _name(key: str, value: object) -> str:
    if isinstance(value, str) and value:
        return value
    raise ArgumentError(f"`fields` must name a column for {key!r}; received: {value!r}.")


def _names(key: str, value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, str):
        return (_name(key, value),)
    if not isinstance(value, Iterable):
        raise ArgumentError(f"`fields` must name columns for {key!r}; received: {value!r}.")
    return tuple(dict.fromkeys(_name(key, item) for item in value))


def _type(kind: object) -> str:
    name = kind.__name__ if isinstance(kind, type) else kind
    if isinstance(name, str) and name in TYPES:
        return name
    raise ArgumentError(f"`fields` may convert metadata to {', '.join(TYPES)}; received: {kind!r}.")


def _converted(name: str, value: Any, kind: str) -> Any:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if kind == "bool" and isinstance(value, str):
        word = value.strip().lower()
        if word not in ("true", "false", "1", "0", "yes", "no"):
            raise ValueError(f"{name!r} is no bool: {value[:40]!r}")
        return word in ("true", "1", "yes")
    try:
        return TYPES[kind](value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name!r} is no {kind}: {str(value)[:40]!r}") from error
