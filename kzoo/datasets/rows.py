"""Rows of JSONL, CSV, TSV and Parquet files, each with its place in the file."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kzoo.datasets.card import SkipLog
from kzoo.datasets.columns import Options
from kzoo.errors import DatasetError

_TEXT_SUFFIXES = (".jsonl", ".csv", ".tsv")
SUFFIXES = (*_TEXT_SUFFIXES, *(f"{suffix}.gz" for suffix in _TEXT_SUFFIXES), ".parquet")


@dataclass(frozen=True)
class Row:
    """One row.

    Args:
        where: ``"file:line"``; for Parquet the number of the row, from 1.
        values: value by column.
    """

    where: str
    values: dict[str, Any]


def suffix_of(path: Path, suffixes: Sequence[str] = SUFFIXES) -> str | None:
    """The suffix that says how to read a file, such as ``".csv.gz"``, or None."""
    name = path.name.lower()
    return next((suffix for suffix in suffixes if name.endswith(suffix)), None)


def read_rows(path: Path, options: Options, log: SkipLog) -> tuple[list[str], list[Row]]:
    """Read a file.

    Args:
        path: a file whose suffix is one of `SUFFIXES`.
        options: `encoding`, `columns` and `quoting` are used.
        log: receives the rows that cannot be read.

    Returns:
        The columns in the order of the file, and the rows. Blank lines are not rows.

    Raises:
        DatasetError: if the file as a whole cannot be read, or `log` is strict and a row cannot.
    """
    suffix = suffix_of(path) or ""
    if options.columns is not None and not suffix.startswith((".csv", ".tsv")):
        raise DatasetError(
            f"`columns` names the columns of a CSV or TSV file without a header line, and "
            f"{str(path)!r} is neither; leave it out"
        )
    if suffix == ".parquet":
        return _parquet(path)
    text = decode(path, options.encoding)
    if suffix.startswith(".jsonl"):
        rows = list(_jsonl(path, text, log))
        columns = list(dict.fromkeys(name for row in rows for name in row.values))
        return columns, rows
    return _delimited(path, text, options, log)


def decode(path: Path, encoding: str) -> str:
    """The text of a file, which may be compressed by gzip.

    Raises:
        DatasetError: it is not what it is called, or not in this encoding.
    """
    data = path.read_bytes()
    if path.name.lower().endswith(".gz"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise DatasetError(
                f"{str(path)!r} is not a complete gzip file ({error}); fetch or compress it again"
            ) from None
    try:
        text = data.decode(encoding)
    except LookupError:
        raise DatasetError(
            f"`encoding` {encoding!r} is unknown; use for example 'utf-8', 'latin-1' or 'cp1252'"
        ) from None
    except UnicodeDecodeError as error:
        guess = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1"
        raise DatasetError(
            f"{str(path)!r} is not {encoding}: byte 0x{data[error.start]:02x} at offset "
            f"{error.start}; convert the file, or name its encoding, for example "
            f"`encoding={guess!r}`"
        ) from None
    return text.removeprefix("\ufeff")


def _jsonl(path: Path, text: str, log: SkipLog) -> Iterator[Row]:
    # Not str.splitlines: it also cuts at U+2028 and others, which JSON strings may contain.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path.name}:{number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            log.add("line is not JSON", where)
            continue
        if isinstance(value, dict):
            yield Row(where, value)
        else:
            log.add("line is not a JSON object", where)


def _delimited(
    path: Path, text: str, options: Options, log: SkipLog
) -> tuple[list[str], list[Row]]:
    tabs = ".tsv" in (suffix_of(path) or "")
    # TSV files of sentences hold bare quotation marks far more often than quoted fields.
    quoted = (not tabs) if options.quoting is None else options.quoting
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter="\t" if tabs else ",",
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=True,
    )
    limit = csv.field_size_limit(2**31 - 1)  # documents are longer than Python's 131,072
    try:
        return _fields(reader, path, options, log)
    finally:
        csv.field_size_limit(limit)


def _fields(reader: Any, path: Path, options: Options, log: SkipLog) -> tuple[list[str], list[Row]]:
    columns = list(options.columns) if options.columns is not None else None
    rows: list[Row] = []
    while True:
        first_line = reader.line_num + 1
        where = f"{path.name}:{first_line}"
        try:
            fields = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            if "end of data" in str(error):
                # Everything up to the end of the file is inside the quotes: not one bad row.
                raise DatasetError(
                    f"{where}: a quotation mark is never closed; correct it, or give "
                    "`quoting=False` if quotation marks are ordinary characters here"
                ) from None
            if columns is None:
                raise DatasetError(f"{where}: the header line is malformed: {error}") from None
            log.add(f"malformed fields ({error})", where)
            continue
        if not fields:
            continue
        if columns is None:
            columns = [name.strip() for name in fields]
        elif len(fields) != len(columns):
            log.add(f"wrong number of fields (expected {len(columns)})", where)
        else:
            rows.append(Row(where, dict(zip(columns, fields, strict=True))))
    return columns or [], rows


def _parquet(path: Path) -> tuple[list[str], list[Row]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise DatasetError(
            f'reading {str(path)!r} needs pyarrow: pip install "kzoo[parquet]"'
        ) from None
    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DatasetError(f"{str(path)!r} is not a readable Parquet file: {reason}") from None
    rows = [Row(f"{path.name}:{i}", values) for i, values in enumerate(table.to_pylist(), 1)]
    return list(table.column_names), rows
