"""Where conditions get document numbers from: one SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING

from retrieval_index.errors import CorruptIndexError
from retrieval_index.filters.fields import Value

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
