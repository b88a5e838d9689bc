"""Parquet tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from retrieval_index.corpus.byte_source import READ_ERRORS, needed, open_seekable, unreadable
from retrieval_index.corpus.document import Entry, ProblemLog
from retrieval_index.corpus.fields import shown_columns
from retrieval_index.corpus.reader import Reader, ReadOptions
from retrieval_index.corpus.records import to_document, without_nan
from retrieval_index.errors import CorpusError, RetrievalIndexError

BATCH_ROWS = 256
BUFFER_BYTES = 1 << 20  # of a column at a time: else a whole row group is read, which may be a file


def read_parquet(path: Path, name: str, options: ReadOptions, log: ProblemLog) -> Iterator[Entry]:
    """Yields one document a row; unusable rows go to the log with their number, from 1.

    Only the columns that are used are read, a batch of rows at a time. A NaN becomes null.

    Raises:
        CorpusError: If the file cannot be read, is damaged, or has not the columns needed (always),
            or a row is unusable (when the log is strict).
    """
    pyarrow = needed("pyarrow", path)
    damage = (
        *READ_ERRORS,
        pyarrow.ArrowException,
        KeyError,
        ValueError,
        OverflowError,
        MemoryError,
    )
    try:
        with open_seekable(path) as file:
            yield from _entries(file, path, name, options, log)
    except RetrievalIndexError:
        raise  # it is a ValueError too
    except damage as error:
        raise unreadable(path, error) from error


def _entries(
    file: IO[bytes], path: Path, name: str, options: ReadOptions, log: ProblemLog
) -> Iterator[Entry]:
    # Checksums of pages are compared where the writer left any.
    table = needed("pyarrow.parquet", path).ParquetFile(
        file, buffer_size=BUFFER_BYTES, page_checksum_verification=True
    )
    columns = list(table.schema_arrow.names)
    if len(set(columns)) < len(columns):
        raise CorpusError(f"`corpus` {name} names columns twice: {shown_columns(columns)}.")
    options.columns.check_columns(columns, name)
    projection = options.columns.projection
    if projection is not None:
        projection = tuple(column for column in projection if column in columns)
    number = 0
    for batch in table.iter_batches(batch_size=BATCH_ROWS, columns=projection):
        for row in _rows(batch):
            number += 1
            where = f"{name} row {number}"
            if isinstance(row, str):
                log.add("not_utf8", where, row)
                continue
            document = to_document(without_nan(row), where, log, options)
            if document is not None:
                yield Entry(document, where)


def _rows(batch: Any) -> Iterator[dict[str, Any] | str]:
    """Yields the rows, or what is wrong with a row that holds undecodable strings."""
    batch.validate(full=False)
    try:
        yield from batch.to_pylist()
        return
    except UnicodeDecodeError:
        pass  # one of the rows: look at each
    for index in range(batch.num_rows):
        try:
            row = batch.slice(index, 1).to_pylist()[0]
        except UnicodeDecodeError as error:
            yield f"a string holds the byte 0x{error.object[error.start]:02x}, which is not UTF-8"
        else:
            yield row


PARQUET = Reader("Parquet", (".parquet",), read_parquet, package="pyarrow", place=4)
