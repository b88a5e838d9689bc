"""What is read: paths, names of corpora, columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def find_corpus(words: list[str]) -> Any:
    """A path, several, or the documents of a corpus that is known by name."""
    if len(words) > 1:
        return list(words)
    from kzoo import datasets

    name = words[0]
    known = [entry.name for entry in datasets.list() if entry.kind == "corpus"]
    return datasets.corpus(name) if name in known and not Path(name).exists() else name


def parse_fields(pairs: list[str] | None) -> dict[str, Any] | None:
    """`["id=doi", "metadata=year:int"]` as `{"id": "doi", "metadata": {"year": "int"}}`.

    Raises:
        InputError: No `=`, no column, two ids or titles, or types for some of the metadata only.
    """
    from kzoo.errors import InputError

    names: dict[str, list[str]] = {}
    for pair in pairs or []:
        field, equals, columns = pair.partition("=")
        found = [column.strip() for column in columns.split(",")]
        if not equals or not all(found):
            raise InputError(
                f"--field must be FIELD=COLUMN[,COLUMN], such as text=body. Received: {pair!r}"
            )
        names.setdefault(field.strip(), []).extend(found)
    fields: dict[str, Any] = {}
    for field, columns_ in names.items():
        if field == "metadata":
            fields[field] = _with_types(columns_)
        elif field in ("id", "title"):
            if len(columns_) > 1:
                raise InputError(f"--field {field} takes one column; received {len(columns_)}.")
            fields[field] = columns_[0]
        else:  # the library knows which there are
            fields[field] = columns_
    return fields or None


def _with_types(columns: list[str]) -> list[str] | dict[str, str]:
    from kzoo.errors import InputError

    typed = [column for column in columns if ":" in column]
    if not typed:
        return columns
    if len(typed) < len(columns):
        plain = next(column for column in columns if ":" not in column)
        raise InputError(
            f"--field metadata must give every column a type or none; {plain!r} has none. "
            "Types: str, int, float, bool."
        )
    pairs = (column.rpartition(":") for column in columns)
    return {name: kind for name, _, kind in pairs}
