"""Queries: their ids and texts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from retrieval_index.errors import EvaluationError
from retrieval_index.evaluation.files import identifier, json_object, lines

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
    for where, raw_id, text in _rows(source):
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


def _rows(source: object) -> Iterator[tuple[str, object, object]]:
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
