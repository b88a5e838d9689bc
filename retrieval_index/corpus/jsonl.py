"""JSON lines, in the layout of BEIR or close to it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

from retrieval_index.corpus.byte_source import READ_ERRORS, open_bytes, unreadable
from retrieval_index.corpus.decoding import UndecodableError
from retrieval_index.corpus.document import Entry
from retrieval_index.corpus.fields import ColumnWatch
from retrieval_index.corpus.json_array import array_entries, is_array
from retrieval_index.corpus.limits import MAX_ENTRY_BYTES, shown_bytes
from retrieval_index.corpus.lines import RawLine, raw_lines
from retrieval_index.corpus.options import ReadOptions
from retrieval_index.corpus.problem_log import ProblemLog
from retrieval_index.corpus.records import to_document


def read_jsonl(path: Path, name: str, options: ReadOptions, log: ProblemLog) -> Iterator[Entry]:
    """Yields one document a line; unusable lines go to the log with line number and byte offset.

    A file that is one JSON array of objects is read too, one object at a time.

    Raises:
        CorpusError: If the file cannot be read or its compressed stream or its array is damaged
            (always), or a line is unusable (when the log is strict).
    """
    watch = ColumnWatch(options.columns, name)
    try:
        with open_bytes(path) as file:
            entries = array_entries if is_array(file) else _line_entries
            yield from entries(file, name, options, log, watch)
    except READ_ERRORS as error:
        # The rest of a damaged stream is lost, and nobody can say how much that is, so this is an
        # error even when not strict.
        raise unreadable(path, error) from error
    watch.finish()


def _line_entries(
    file: io.BufferedIOBase,
    name: str,
    options: ReadOptions,
    log: ProblemLog,
    watch: ColumnWatch,
) -> Iterator[Entry]:
    for line in raw_lines(file, options.decoding):
        where = f"{name} line {line.number} (byte {line.offset})"
        text = _text(line, where, log)
        if text is None or not text.strip():
            continue  # an empty line, as many files have at their end, is no entry
        record = _parse(text, where, log)
        if record is None:
            continue
        watch.see(record)
        document = to_document(record, where, log, options)
        if document is not None:
            yield Entry(document, where)


def _text(line: RawLine, where: str, log: ProblemLog) -> str | None:
    if line.data is None:
        log.add("too_large", where, f"the line is longer than {shown_bytes(MAX_ENTRY_BYTES)}")
        return None
    try:
        return line.text()
    except UndecodableError as error:
        log.add(error.reason, where, error.detail_in_line)
        return None


def _parse(text: str, where: str, log: ProblemLog) -> dict[str, object] | None:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        log.add("not_json", where, f"the line is not JSON ({error})")
    else:
        if isinstance(record, dict):
            return record
        kind = type(record).__name__
        log.add("not_an_object", where, f"the line must hold a JSON object, not {kind}")
    return None
