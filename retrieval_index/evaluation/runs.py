"""Runs: what a system answered, as mappings and as files of TREC."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from retrieval_index.errors import EvaluationError
from retrieval_index.evaluation.files import identifier, lines, write_text
from retrieval_index.evaluation.metrics import ranked

Run = dict[str, dict[str, float]]

COLUMNS = "query, Q0, document, rank, score, tag"


def write_run(
    path: str | os.PathLike[str], run: Mapping[str, Mapping[str, float]], tag: str = "kzoo"
) -> Path:
    """Writes a run as TREC asks for it; the old file or the new one is there after a crash.

    A line is `query Q0 document rank score tag`. Ranks count from 1 in the order in which trec_eval
    reads the file; scores are written so that they are read back unchanged. A query without hits
    has no line.

    Args:
        path: The file; replaced if it is there.
        run: Score of each document of each query.
        tag: Name of the system.

    Returns:
        The path.

    Raises:
        EvaluationError: If an id or the tag is blank or holds white space, which divides the
            columns, or a score is not finite.
    """
    _check_word(tag, "`tag`", tag)
    checked = read_run(run)
    return write_text(path, _run_lines(checked, tag))


def read_run(source: str | os.PathLike[str] | Mapping[str, Mapping[str, float]]) -> Run:
    """Reads a run.

    Args:
        source: A file of TREC, plain or gzip, with six columns (query, Q0, document, rank, score,
            tag), or a mapping of query ids to mappings of document ids to scores. As in trec_eval,
            ranks are of no account.

    Returns:
        Score of each document of each query.

    Raises:
        EvaluationError: If the source cannot be read, is empty, names a document twice for one
            query, or has a row of another form or a score that is not finite; with file and line.
    """
    run: Run = {}
    if isinstance(source, Mapping):
        for query, scores in source.items():
            if not isinstance(scores, Mapping):
                raise EvaluationError(
                    f"`run`: query {query!r} must have a mapping of document ids to scores; "
                    f"received: {type(scores).__name__}."
                )
            where = f"query {query!r}"
            run[identifier(query, "an id", where, "run")] = {
                identifier(document, "an id of a document", where, "run"): _score(score, where)
                for document, score in scores.items()
            }
        return run
    if not isinstance(source, str | os.PathLike):
        raise EvaluationError(
            f"`run` must be a file of TREC or a mapping of query ids to scores of documents; "
            f"received: {type(source).__name__}."
        )
    path = Path(source).expanduser()
    for where, line in lines(path, "run"):
        columns = line.split()
        if len(columns) != 6:
            raise EvaluationError(
                f"`run`: {where} must have 6 columns ({COLUMNS}); received {len(columns)}."
            )
        query, _, document, _, score, _ = columns
        scores = run.setdefault(query, {})
        if document in scores:
            raise EvaluationError(
                f"`run`: {where} names the document {document!r} for the query {query!r}, which "
                "was there before."
            )
        scores[document] = _score(score, where)
    if not run:
        raise EvaluationError(f"`run` {path} must not be empty.")
    return run


def _run_lines(run: Run, tag: str) -> Iterator[str]:
    for query, scores in run.items():
        _check_word(query, "`run`: the id of a query", query)
        for rank, document in enumerate(ranked(scores), start=1):
            _check_word(document, "`run`: the id of a document", document)
            yield f"{query} Q0 {document} {rank} {scores[document]!r} {tag}\n"


def _check_word(value: str, what: str, received: str) -> None:
    if len(value.split()) != 1 or value.split()[0] != value:
        raise EvaluationError(
            f"{what} must be one word, as white space divides the columns of a run file; received: "
            f"{received!r:.60}. Rename it, for one with `id.replace(' ', '_')` in the corpus, the "
            "queries and the judgements alike, or keep the run as JSON."
        )


def _score(value: object, where: str) -> float:
    try:
        if isinstance(value, bool):
            raise ValueError
        score = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        score = math.nan
    if not math.isfinite(score):
        raise EvaluationError(
            f"`run`: {where} must have a finite number as score; received: {value!r:.60}."
        )
    return score
