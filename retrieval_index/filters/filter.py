"""A parsed filter, and its conditions: which documents of a segment fit, and whether one does."""

from __future__ import annotations

import operator
import sqlite3
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from retrieval_index.errors import CorruptIndexError
from retrieval_index.filters.fields import TEXT, Typed, Value, field_rows, storable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Mask = npt.NDArray[np.bool_]

# Pseudo-field -> its column in the table of documents.
PSEUDO_FIELDS = {"_id": "id", "_title": "title"}


class Source:
    """Answers the questions of conditions with masks over the documents of a segment.

    Args:
        connection: Of a file with the tables `fields` and `documents`; only read.
        count: Number of documents; they are numbered from 0.
    """

    def __init__(self, connection: sqlite3.Connection, count: int) -> None:
        self._connection = connection
        self.count = count

    def full(self, value: bool) -> Mask:
        """Returns a mask of all documents or of none."""
        import numpy as np

        return np.full(self.count, value, dtype=np.bool_)

    def fields(self, condition: str, values: Sequence[Value]) -> Mask:
        """Returns a mask of the documents with a row in `fields` that fits.

        Args:
            condition: SQL after WHERE. Never holds anything a user wrote, only question marks.
            values: One for each question mark.
        """
        return self._mask("document", "fields", condition, values)

    def documents(self, condition: str, values: Sequence[Value]) -> Mask:
        """Returns a mask of the documents whose row in `documents` fits."""
        return self._mask("number", "documents", condition, values)

    def _mask(self, column: str, table: str, condition: str, values: Sequence[Value]) -> Mask:
        import numpy as np

        mask = self.full(False)
        where = f"FROM {table} WHERE {condition}"
        try:
            numbers = self._numbers(column, where, values)
        except sqlite3.DatabaseError as error:
            raise CorruptIndexError(
                f"The table `{table}` of the index cannot be read ({error})."
            ) from error
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < self.count:
            raise CorruptIndexError(
                f"The table `{table}` of the index names the document "
                f"{max(numbers.max(), -numbers.min())}; there are {self.count}."
            )
        mask[numbers.astype(np.intp, copy=False)] = True
        return mask

    def _numbers(self, column: str, where: str, values: Sequence[Value]) -> npt.NDArray[np.int64]:
        import numpy as np

        try:
            # A third of the time of fetching a million rows as Python tuples.
            count, joined = self._connection.execute(
                f"SELECT count(*), group_concat({column}) {where}", values
            ).fetchone()
        except sqlite3.DataError:  # the text is longer than SQLite allows
            rows = self._connection.execute(f"SELECT {column} {where}", values)
            return np.fromiter((row[0] for row in rows), np.int64)
        try:
            numbers = np.fromstring(joined or "", np.int64, sep=",")
        except ValueError:
            numbers = np.empty(0, np.int64)
        if len(numbers) != count:
            raise CorruptIndexError(f"The column `{column}` of the index holds more than integers.")
        return numbers


# Key -> its kinds and values: a document's rows, for `holds`.
Fields = Mapping[str, set[Typed]]

COMPARISONS = {
    "$gt": (">", operator.gt),
    "$gte": (">=", operator.ge),
    "$lt": ("<", operator.lt),
    "$lte": ("<=", operator.le),
}
VALUES_AT_ONCE = 500  # SQLite allows from 999 question marks in a statement (before 3.32)


class Condition(ABC):
    """Fits some documents and not others. Frozen and hashable: an answer may be kept by it."""

    @abstractmethod
    def holds(self, fields: Fields) -> bool:
        """Returns whether a document with these fields fits."""

    @abstractmethod
    def mask(self, source: Source) -> Mask:
        """Returns a mask (count,) of the documents that fit."""


@dataclass(frozen=True, slots=True)
class In(Condition):
    """The field has one of the values (`$eq`, `$in`)."""

    key: str
    values: tuple[Typed, ...]

    def holds(self, fields: Fields) -> bool:
        return not fields.get(self.key, set()).isdisjoint(self.values)

    def mask(self, source: Source) -> Mask:
        mask = source.full(False)
        by_kind = sorted(self.values, key=operator.itemgetter(0))
        for kind, same_kind in groupby(by_kind, operator.itemgetter(0)):
            values = [value for _, value in same_kind]
            for start in range(0, len(values), VALUES_AT_ONCE):
                part = values[start : start + VALUES_AT_ONCE]
                mask |= self._part(source, kind, part)
        return mask

    def _part(self, source: Source, kind: str, values: list[Value]) -> Mask:
        marks = ", ".join("?" * len(values))
        if column := PSEUDO_FIELDS.get(self.key):
            return source.documents(f"{column} IN ({marks})", values)
        condition = f"key = ? AND kind = ? AND value IN ({marks})"
        return source.fields(condition, [self.key, kind, *values])


@dataclass(frozen=True, slots=True)
class Between(Condition):
    """The field has a value of a kind within all bounds, which are operators with operands."""

    key: str
    kind: str
    bounds: tuple[tuple[str, Value], ...]

    def holds(self, fields: Fields) -> bool:
        return any(
            kind == self.kind
            and all(COMPARISONS[name][1](value, bound) for name, bound in self.bounds)
            for kind, value in fields.get(self.key, ())
        )

    def mask(self, source: Source) -> Mask:
        column = PSEUDO_FIELDS.get(self.key, "value")
        condition = " AND ".join(f"{column} {COMPARISONS[name][0]} ?" for name, _ in self.bounds)
        values = [bound for _, bound in self.bounds]
        if self.key in PSEUDO_FIELDS:
            return source.documents(condition, values)
        return source.fields(
            f"key = ? AND kind = ? AND {condition}", [self.key, self.kind, *values]
        )


@dataclass(frozen=True, slots=True)
class Exists(Condition):
    """The field is there, with any value."""

    key: str

    def holds(self, fields: Fields) -> bool:
        return self.key in fields

    def mask(self, source: Source) -> Mask:
        if self.key in PSEUDO_FIELDS:
            return source.full(True)
        return source.fields("key = ?", [self.key])


@dataclass(frozen=True, slots=True)
class And(Condition):
    """Every part fits (`$and`); without parts, everything does."""

    parts: tuple[Condition, ...]

    def holds(self, fields: Fields) -> bool:
        return all(part.holds(fields) for part in self.parts)

    def mask(self, source: Source) -> Mask:
        mask = source.full(True)
        for part in self.parts:
            mask &= part.mask(source)
            if not mask.any():
                break
        return mask


@dataclass(frozen=True, slots=True)
class Or(Condition):
    """At least one part fits (`$or`)."""

    parts: tuple[Condition, ...]

    def holds(self, fields: Fields) -> bool:
        return any(part.holds(fields) for part in self.parts)

    def mask(self, source: Source) -> Mask:
        mask = source.full(False)
        for part in self.parts:
            mask |= part.mask(source)
        return mask


@dataclass(frozen=True, slots=True)
class Not(Condition):
    """The part does not fit, be it that the field is missing."""

    part: Condition

    def holds(self, fields: Fields) -> bool:
        return not self.part.holds(fields)

    def mask(self, source: Source) -> Mask:
        mask: Mask = ~self.part.mask(source)
        return mask


@dataclass(frozen=True, slots=True)
class Filter:
    """What `parse_filter` returns. Hashable: equal filters have equal answers for a segment."""

    condition: Condition

    def documents(self, connection: sqlite3.Connection, count: int) -> npt.NDArray[np.bool_]:
        """Returns which documents of a segment fit.

        Each comparison is a range of the index, then masks are combined: a million documents take
        some hundredths of a second for each comparison, by how many fit.

        Args:
            connection: Of a SQLite file with the tables `fields` (see `SCHEMA`) and
                `documents(number, id, title)`; only read.
            count: Number of documents in it; they are numbered from 0.

        Returns:
            Bools of shape (count,).

        Raises:
            CorruptIndexError: If a table cannot be read or names a document outside the range.
        """
        return self.condition.mask(Source(connection, count))

    def matches(self, metadata: Mapping[str, Any], id: str = "", title: str = "") -> bool:
        """Returns whether one document fits; the same answer without a database.

        Args:
            metadata: JSON-ready data.
            id: Id of the document.
            title: Its title.
        """
        fields: defaultdict[str, set[Typed]] = defaultdict(set)
        for key, kind, value in field_rows(metadata):
            fields[key].add((kind, value))
        fields["_id"] = {(TEXT, storable(id))}
        fields["_title"] = {(TEXT, storable(title))}
        return self.condition.holds(dict(fields))
