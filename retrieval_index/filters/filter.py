"""A parsed filter."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from retrieval_index.filters.conditions import Condition
from retrieval_index.filters.fields import TEXT, Typed, field_rows, storable
from retrieval_index.filters.source import Source

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


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
