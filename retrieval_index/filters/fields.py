"""Metadata as rows of (key, kind, value), which is what filters look at."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from retrieval_index.errors import ArgumentError

# The key is the whole row in the order in which filters ask, so that every question is a range of
# it. The column `value` has no type of its own: SQLite would make 1 of "1" and 1.0 of 1.
SCHEMA = """
CREATE TABLE fields (
    key TEXT NOT NULL, kind TEXT NOT NULL, value NOT NULL, document INTEGER NOT NULL,
    PRIMARY KEY (key, kind, value, document)) WITHOUT ROWID;
"""

NULL, BOOL, NUMBER, TEXT = "null", "bool", "number", "text"
CONTAINER = "container"  # an object or a list: the field exists, whatever is in it

Value = int | float | str
Typed = tuple[str, Value]  # kind and value

_INT64 = range(-(2**63), 2**63)
_SURROGATES = re.compile("[\ud800-\udfff]")


def field_rows(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str, Value]]:
    """Yields the rows (key, kind, value) of a document's metadata, none of them twice.

    `kind` is "null" (value 0), "bool" (0 or 1), "number", "text" or "container" (value 0: there is
    an object or a list under the key). Keys of nested objects are joined by dots; each element of a
    list, and of lists in it, is a row of the list's key.

    Integers beyond 64 bits become the nearest float (infinity beyond these), as SQLite holds no
    other; lone surrogates become U+FFFD, as they have no UTF-8 form.

    Args:
        metadata: JSON-ready data, as `Document.metadata` is checked to be.

    Raises:
        ArgumentError: If a value is no JSON data.
    """
    seen: set[tuple[str, str, Value]] = set()
    # An own stack: JSON may be nested more deeply than Python's calls may be.
    waiting: list[tuple[str, Any]] = [
        (_key(key), value) for key, value in reversed(list(metadata.items()))
    ]
    row: tuple[str, str, Value]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, Mapping):
            row = (key, CONTAINER, 0)
            inner = [(f"{key}.{_key(name)}", item) for name, item in value.items()]
            waiting += reversed(inner)
        elif isinstance(value, list | tuple):
            row = (key, CONTAINER, 0)
            waiting += [(key, item) for item in reversed(value)]
        else:
            kind_value = typed(value)
            if kind_value is None:
                raise ArgumentError(
                    f"`metadata` must be JSON data; {key!r} holds {type(value).__name__}."
                )
            row = (key, *kind_value)
        if row not in seen:  # 1 and 1.0 are one row here and in SQLite
            seen.add(row)
            yield row


def typed(value: object) -> Typed | None:
    """Returns the kind and the stored form of a JSON value that is no object or list, else None."""
    if value is None:
        return NULL, 0
    if isinstance(value, bool):
        return BOOL, int(value)
    if isinstance(value, int):
        number = int(value)  # a range looks for an int of a subclass one by one
        return NUMBER, number if number in _INT64 else _nearest_float(number)
    if isinstance(value, float):
        return None if value != value else (NUMBER, float(value))
    if isinstance(value, str):
        return TEXT, storable(value)
    return None


def storable(text: str) -> str:
    """Returns the text with each lone surrogate replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATES.sub("\ufffd", text)
    return text


def _nearest_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _key(key: object) -> str:
    # As JSON writes keys that are no strings.
    return storable(key if isinstance(key, str) else json.dumps(key))
