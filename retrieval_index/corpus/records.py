"""From a raw record (mapping, pair, string) to a checked `Document`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from retrieval_index.corpus.document import Document, derived_id
from retrieval_index.corpus.problem_log import ProblemLog

# BEIR writes `_id`; most other data sets write `id`.
ID_FIELDS = ("_id", "id")
KNOWN_FIELDS = frozenset({*ID_FIELDS, "title", "text", "metadata"})


def to_document(record: object, where: str, log: ProblemLog) -> Document | None:
    """Returns the document that a record stands for, or None after recording what is wrong.

    Args:
        record: A `Document`, a mapping with `text` and optionally `_id` or `id`, `title`,
            `metadata` (further keys become metadata), an `(id, text)` pair, or a plain text.
        where: Place of the record, for messages.
        log: Receives the problem when the record cannot be used.

    Returns:
        A document with an id, some non-blank text or title, and JSON-ready metadata; or None.

    Raises:
        CorpusError: If the record cannot be used and the log is strict.
    """
    raw = _raw_fields(record)
    if raw is None:
        kind = type(record).__name__
        log.add("not_a_record", where, f"a document, mapping or pair was expected, not {kind}")
        return None
    identifier, text, title, metadata = raw
    problem = _problem(identifier, text, title, metadata)
    if problem is not None:
        log.add(problem[0], where, problem[1])
        return None
    name = str(identifier) if identifier not in (None, "") else derived_id(title or "", text)
    return Document(name, text, title or "", metadata)


def _raw_fields(record: object) -> tuple[Any, Any, Any, Any] | None:
    if isinstance(record, Document):
        return record.id, record.text, record.title, record.metadata
    if isinstance(record, str):
        return None, record, "", {}
    if isinstance(record, Mapping):
        identifier = next((record[key] for key in ID_FIELDS if record.get(key) is not None), None)
        metadata = record.get("metadata")
        extra = {key: value for key, value in record.items() if key not in KNOWN_FIELDS}
        if extra and (metadata is None or isinstance(metadata, Mapping)):
            metadata = {**extra, **(metadata or {})}
        return (
            identifier,
            record.get("text"),
            record.get("title"),
            {} if metadata is None else metadata,
        )
    if isinstance(record, tuple | list) and len(record) == 2:
        return record[0], record[1], "", {}
    return None


def _problem(identifier: Any, text: Any, title: Any, metadata: Any) -> tuple[str, str] | None:
    """Returns (reason, detail) of the first thing wrong with the fields, or None."""
    if not isinstance(text, str):
        return "no_text", f"`text` must be a string; received: {_shown(text)}"
    if title is not None and not isinstance(title, str):
        return "bad_title", f"`title` must be a string; received: {_shown(title)}"
    if isinstance(identifier, bool) or not isinstance(identifier, str | int | None):
        return "bad_id", f"`id` must be a string or an integer; received: {_shown(identifier)}"
    if not text.strip() and not (title or "").strip():
        return "blank", "`text` and `title` are both blank"
    if not isinstance(metadata, Mapping):
        return "bad_metadata", f"`metadata` must be a mapping; received: {_shown(metadata)}"
    try:
        json.dumps(dict(metadata), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        return "bad_metadata", f"`metadata` is no JSON data ({error})"
    try:
        # JSON may spell lone surrogates (\ud800), which no UTF-8 file or database can hold.
        f"{identifier}{title}{text}".encode()
    except UnicodeEncodeError as error:
        return "not_utf8", f"a lone surrogate at character {error.start} has no UTF-8 form"
    return None


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."
