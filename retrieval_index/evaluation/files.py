"""Queries and judgements of relevance ("qrels"), read by line; text files written durably."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

from retrieval_index.errors import EvaluationError
from retrieval_index.storage.durable import fsync_folder

GZIP_MAGIC = b"\x1f\x8b"
UTF8_BOM = "\ufeff"


def lines(path: Path, name: str) -> Iterator[tuple[str, str]]:
    """Yields (place, line) of the lines that are not blank, without their ends.

    Args:
        path: A UTF-8 file, plain or gzip.
        name: What it is in the caller's signature, for messages.

    Raises:
        EvaluationError: If the file is missing, cannot be read to its end or is not UTF-8.
    """
    if path.is_dir():
        held = ", ".join(sorted(entry.name for entry in path.iterdir())[:10]) or "nothing"
        raise EvaluationError(f"`{name}` must be a file; {path} is a folder, which holds {held}.")
    try:
        with _open(path) as file:
            for number, raw in enumerate(file, start=1):
                where = f"{path} line {number}"
                try:
                    line = raw.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise EvaluationError(
                        f"`{name}` must be UTF-8; {where} has the byte 0x{raw[error.start]:02x}."
                    ) from error
                line = (line.removeprefix(UTF8_BOM) if number == 1 else line).rstrip("\r\n")
                if line.strip():
                    yield where, line
    except (OSError, EOFError, zlib.error) as error:
        raise EvaluationError(f"`{name}` {path} cannot be read to its end: {error}.") from error


def json_object(line: str, where: str, name: str) -> dict[str, Any]:
    """Returns the JSON object of a line.

    Raises:
        EvaluationError: If the line is anything else.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise EvaluationError(f"`{name}`: {where} is not JSON ({error}).") from error
    if not isinstance(record, dict):
        raise EvaluationError(
            f"`{name}`: {where} must hold a JSON object, not {type(record).__name__}."
        )
    return record


def identifier(value: object, what: str, where: str, name: str) -> str:
    """Returns the id of a query or document as text; integers count as their digits.

    Raises:
        EvaluationError: If it is something else, or blank.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise EvaluationError(f"`{name}`: {where} must have {what}; received: {value!r:.60}.")
    return value


def write_text(path: str | os.PathLike[str], parts: Iterable[str]) -> Path:
    """Writes a UTF-8 file so that a crash leaves the old file or the new one, never a part.

    Returns:
        The path.
    """

    def write(file: IO[str]) -> None:
        file.writelines(parts)

    return write_file(path, write)


def write_file(path: str | os.PathLike[str], write: Callable[[IO[str]], object]) -> Path:
    """As `write_text`, for what a function writes, such as a `csv.writer`."""
    target = Path(path).expanduser()
    temporary = target.with_name(f"{target.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(target.parent)
    return target


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        compressed = file.read(2) == GZIP_MAGIC
    if compressed:
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return path.open("rb")


Qrels = dict[str, dict[str, int]]

JSON_FIELDS = ("query-id", "corpus-id", "score")
FORMS = (
    "4 columns as of TREC (query, iteration, document, level), or 3 with tabs between (query, "
    "document, level), or JSON lines with query-id, corpus-id and score"
)


def read_qrels(source: str | os.PathLike[str] | Mapping[str, Mapping[str, int]]) -> Qrels:
    """Reads judgements.

    Args:
        source: A file, plain or gzip: three columns with tabs between as of BEIR (query, document,
            level; with or without a header), four columns as of TREC (query, iteration, document,
            level), or JSON lines as of MTEB; or a mapping of query ids to mappings of document ids
            to levels.

    Returns:
        Level of each judged document of each query: 1 and more is relevant, 0 and less is not. A
        query of a mapping that has no judgements is left out.

    Raises:
        EvaluationError: If the source cannot be read, is empty, judges a document twice and
            differently, or has a row of another form; with file and line.
    """
    qrels: Qrels = {}
    for where, raw_query, raw_document, raw_level in _judgements(source):
        query = identifier(raw_query, "an id of a query", where, "qrels")
        document = identifier(raw_document, "an id of a document", where, "qrels")
        level = _level(raw_level, where)
        if qrels.setdefault(query, {}).setdefault(document, level) != level:
            raise EvaluationError(
                f"`qrels`: {where} gives the document {document!r} of the query {query!r} the "
                f"level {level}; it was {qrels[query][document]} before."
            )
    if not qrels:
        raise EvaluationError(f"`qrels` must not be empty; received: {source!s:.300}.")
    return qrels


def _judgements(source: object) -> Iterator[tuple[str, object, object, object]]:
    if isinstance(source, Mapping):
        for query, judged in source.items():
            where = f"query {query!r}"
            if not isinstance(judged, Mapping):
                raise EvaluationError(
                    f"`qrels`: {where} must have a mapping of document ids to levels; received: "
                    f"{type(judged).__name__}."
                )
            for document, level in judged.items():
                yield where, query, document, level
        return
    if not isinstance(source, str | os.PathLike):
        raise EvaluationError(
            "`qrels` must be a file or a mapping of query ids to judged documents; received: "
            f"{type(source).__name__}."
        )
    path = Path(source).expanduser()
    form = 0  # number of columns, or 1 for JSON; all lines have that of the first
    for where, line in lines(path, "qrels"):
        first = form == 0
        found, row = _split(line, where)
        if first:
            form = found
            if form == 3 and not _is_level(row[2]):
                continue  # the header
        elif found != form:
            raise EvaluationError(f"`qrels`: {where} must have the form of the first line.")
        yield where, *row


def _split(line: str, where: str) -> tuple[int, tuple[object, object, object]]:
    if line.lstrip().startswith("{"):
        record = json_object(line, where, "qrels")
        query, document, level = (record.get(name) for name in JSON_FIELDS)
        return 1, (query, document, level)
    columns = [column.strip() for column in line.split("\t")]
    if len(columns) == 3:
        return 3, (columns[0], columns[1], columns[2])
    columns = line.split()
    if len(columns) == 4:
        return 4, (columns[0], columns[2], columns[3])
    raise EvaluationError(f"`qrels`: {where} must have {FORMS}; received: {line!r:.60}.")


def _is_level(value: object) -> bool:
    try:
        _level(value, "")
    except EvaluationError:
        return False
    return True


def _level(value: object, where: str) -> int:
    """Returns a whole number, also if it is written as one with decimals."""
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        number = float(value)
        if number != int(number) or abs(number) > 1000:  # 2^1000 is the largest gain there is
            raise ValueError
    except (ValueError, OverflowError):
        raise EvaluationError(
            f"`qrels`: {where} must have a whole number from -1000 to 1000 as level of relevance; "
            f"received: {value!r:.60}."
        ) from None
    return int(number)


Queries = dict[str, str]

ID_FIELDS = ("_id", "id", "query_id", "query-id", "qid")
TEXT_FIELDS = ("text", "query")
HEADER = {name.lower() for name in (*ID_FIELDS, "query")}


def read_queries(source: str | os.PathLike[str] | Mapping[str, str]) -> Queries:
    """Reads queries.

    Args:
        source: A file, plain or gzip: JSON lines as of BEIR (`{"_id": ..., "text": ...}`) or two
            columns with a tab between, id and text, with or without a header; or a mapping of ids
            to texts. A folder stands for the `queries.jsonl` in it.

    Returns:
        Text of each query, in the order of the source.

    Raises:
        EvaluationError: If the source cannot be read, is empty, or has an id twice, a blank text or
            a row of another form; with file and line.
    """
    queries: Queries = {}
    for where, raw_id, text in _texts(source):
        id = identifier(raw_id, "an id of a query", where, "queries")
        if not isinstance(text, str) or not text.strip():
            raise EvaluationError(
                f"`queries`: {where} must have a text that is not blank; received: {text!r:.60}."
            )
        if id in queries:
            raise EvaluationError(f"`queries`: {where} has the id {id!r}, which was there before.")
        queries[id] = text
    if not queries:
        raise EvaluationError(f"`queries` must not be empty; received: {source!s:.300}.")
    return queries


def _texts(source: object) -> Iterator[tuple[str, object, object]]:
    if isinstance(source, Mapping):
        for number, (id, text) in enumerate(source.items(), start=1):
            yield f"item {number}", id, text
        return
    if not isinstance(source, str | os.PathLike):
        raise EvaluationError(
            "`queries` must be a .jsonl or .tsv file or a mapping of ids to texts; received: "
            f"{type(source).__name__}."
        )
    path = Path(source).expanduser()
    if path.is_dir() and (path / "queries.jsonl").exists():
        path /= "queries.jsonl"
    as_json: bool | None = None
    for where, line in lines(path, "queries"):
        first = as_json is None
        if as_json is None:
            as_json = line.lstrip().startswith("{")
        if as_json:
            record = json_object(line, where, "queries")
            yield where, _field(record, ID_FIELDS), _field(record, TEXT_FIELDS)
            continue
        columns = line.split("\t")
        if len(columns) != 2:
            raise EvaluationError(
                f"`queries`: {where} must have 2 columns with a tab between, id and text; "
                f"received {len(columns)}."
            )
        if not (first and columns[0].strip().lower() in HEADER):
            yield where, columns[0].strip(), columns[1].strip()


def _field(record: dict[str, object], names: tuple[str, ...]) -> object:
    return next((record[name] for name in names if record.get(name) is not None), None)
