"""Judgements of relevance ("qrels")."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from retrieval_index.errors import EvaluationError
from retrieval_index.evaluation.files import identifier, json_object, lines

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
    for where, raw_query, raw_document, raw_level in _rows(source):
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


def _rows(source: object) -> Iterator[tuple[str, object, object, object]]:
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
