"""CSV and TSV with a header."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from retrieval_index.corpus.byte_source import READ_ERRORS, open_bytes, unreadable
from retrieval_index.corpus.decoding import Decoding, UndecodableError
from retrieval_index.corpus.document import Entry, ProblemLog
from retrieval_index.corpus.fields import shown_columns
from retrieval_index.corpus.lines import MAX_ENTRY_BYTES, RawLine, raw_lines, shown_bytes
from retrieval_index.corpus.reader import Reader, ReadOptions
from retrieval_index.corpus.records import to_document
from retrieval_index.errors import CorpusError


class Row(NamedTuple):
    """The cells of a row, or the reason and detail of why there are none."""

    cells: list[str]
    where: str
    problem: tuple[str, str] | None


def read_csv(path: Path, name: str, options: ReadOptions, log: ProblemLog) -> Iterator[Entry]:
    """Yields one document a row of a CSV file as RFC 4180 has it.

    The first row names the columns. Cells in double quotes may hold separators and line ends. The
    separator is a comma; or a semicolon, if the first line has one and no comma.

    Raises:
        CorpusError: If the file cannot be read, has not the columns needed, or has a quoted cell
            that never ends (always), or a row is unusable (when the log is strict).
    """
    yield from _read(path, name, options, log, quoted=True)


def read_tsv(path: Path, name: str, options: ReadOptions, log: ProblemLog) -> Iterator[Entry]:
    """Yields one document a row of a tab-separated file, where a quote is a character like others.

    So text/tab-separated-values is defined, and so the large collections are written: a stray quote
    swallows nothing.

    Raises:
        CorpusError: If the file cannot be read or has not the columns needed (always), or a row is
            unusable (when the log is strict).
    """
    yield from _read(path, name, options, log, quoted=False)


def _read(
    path: Path, name: str, options: ReadOptions, log: ProblemLog, *, quoted: bool
) -> Iterator[Entry]:
    try:
        with open_bytes(path) as file:
            rows = (_csv_rows if quoted else _tsv_rows)(file, name, options.decoding)
            yield from _entries(rows, name, options, log)
    except READ_ERRORS as error:
        raise unreadable(path, error) from error


def _entries(
    rows: Iterator[Row], name: str, options: ReadOptions, log: ProblemLog
) -> Iterator[Entry]:
    header: list[str] | None = None
    for row in rows:
        if header is None:
            header = _header(row, name)
            options.columns.check_columns(header, name)
            continue
        if row.problem is None and len(row.cells) != len(header):
            detail = f"{len(row.cells)} cells under {len(header)} columns"
            row = row._replace(problem=("ragged_row", detail))
        if row.problem is not None:
            log.add(*_at(row))
            continue
        document = to_document(dict(zip(header, row.cells, strict=True)), row.where, log, options)
        if document is not None:
            yield Entry(document, row.where)


def _at(row: Row) -> tuple[str, str, str]:
    assert row.problem is not None
    return row.problem[0], row.where, row.problem[1]


def _header(row: Row, name: str) -> list[str]:
    if row.problem is not None:
        raise CorpusError(f"`corpus` {name} has an unusable header: {row.problem[1]}.")
    # pandas writes its row numbers under an empty name.
    header = [cell.strip() or f"column_{i}" for i, cell in enumerate(row.cells, start=1)]
    repeated = sorted({cell for cell in header if header.count(cell) > 1})
    if repeated:
        raise CorpusError(
            f"`corpus` {name} names columns twice: {shown_columns(repeated)}. The first row must "
            "give each column a name of its own."
        )
    return header


def _tsv_rows(file: io.BufferedIOBase, name: str, decoding: Decoding) -> Iterator[Row]:
    for line in raw_lines(file, decoding):
        where = f"{name} line {line.number} (byte {line.offset})"
        text, problem = _line_text(line)
        if problem is not None or text.strip():
            yield Row(text.rstrip("\r\n").split("\t"), where, problem)


def _line_text(line: RawLine) -> tuple[str, tuple[str, str] | None]:
    if line.data is None:
        limit = shown_bytes(MAX_ENTRY_BYTES)
        return "", ("too_large", f"the line is longer than {limit}")
    try:
        return line.text(), None
    except UndecodableError as error:
        return "", (error.reason, error.detail_in_line)


def _csv_rows(file: io.BufferedIOBase, name: str, decoding: Decoding) -> Iterator[Row]:
    # The limit is one of the whole process, and as it stands too small for many a document.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_ENTRY_BYTES))
    lines = _CsvLines(raw_lines(file, decoding), name)
    rows = csv.reader(lines, delimiter=lines.delimiter(), strict=True)
    while True:
        lines.begin_row()
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            if lines.ended:
                raise CorpusError(
                    f"`corpus` {lines.where}: a quoted cell begins here and never ends, so all "
                    f"that follows is lost. Mend the row (a quote inside a cell is doubled)."
                ) from error
            yield Row([], lines.where, ("bad_row", f"no row of a CSV file ({error})"))
            continue
        if cells or lines.problem:
            yield Row(cells, lines.where, lines.problem)


class _CsvLines:
    """The lines of a CSV file for `csv.reader`, which asks for as many as a row has.

    Attributes:
        where: Place of the line in which the row begins.
        problem: First thing wrong with the lines of the row.
        ended: Whether the row reached the end of the file.
    """

    def __init__(self, lines: Iterator[RawLine], name: str) -> None:
        self._lines = lines
        self._name = name
        self._next = next(lines, None)
        self.where = name
        self.problem: tuple[str, str] | None = None
        self.ended = False
        self._size = 0

    def delimiter(self) -> str:
        """Returns the separator that the first line tells."""
        text = _line_text(self._next)[0] if self._next is not None else ""
        return ";" if ";" in text and "," not in text else ","

    def begin_row(self) -> None:
        """Makes the next line the first of a row."""
        if self._next is not None:
            self.where = f"{self._name} line {self._next.number} (byte {self._next.offset})"
        self.problem = None
        self._size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._next
        if line is None:
            self.ended = True
            raise StopIteration
        self._next = next(self._lines, None)
        self._size += MAX_ENTRY_BYTES + 1 if line.data is None else len(line.data)
        if self._size > MAX_ENTRY_BYTES:
            raise CorpusError(
                f"`corpus` {self.where}: the row does not end within "
                f"{shown_bytes(MAX_ENTRY_BYTES)}; is a quote left open?"
            )
        text, problem = _line_text(line)
        self.problem = self.problem or problem
        if problem is not None:
            # The row goes on, and so must its quotes; what it holds is not used.
            text = (line.data or b"").decode(line.decoding.encoding, "replace")
        return text


CSV = Reader("CSV", (".csv",), read_csv, place=2)
TSV = Reader("TSV", (".tsv",), read_tsv, place=3)
