"""JSON lines, in the layout of BEIR or close to it."""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from retrieval_index.corpus.byte_source import READ_ERRORS, open_bytes, unreadable
from retrieval_index.corpus.decoding import Decoding, UndecodableError
from retrieval_index.corpus.document import Entry, ProblemLog
from retrieval_index.corpus.fields import ColumnWatch
from retrieval_index.corpus.lines import MAX_ENTRY_BYTES, RawLine, raw_lines, shown_bytes
from retrieval_index.corpus.reader import Reader, ReadOptions
from retrieval_index.corpus.records import to_document
from retrieval_index.errors import CorpusError

# `[{` or `[]`; a file that begins with `["a", "b"]` has an array in each line.
ARRAY = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[\s*[{\]]")
HEAD = 1024
BLOCK = 1 << 18
SPACE = re.compile(r"[ \t\r\n]*")
UNDECODED = re.compile("[\udc80-\udcff]")


def is_array(file: io.BufferedIOBase) -> bool:
    """Tells whether a file, which stays at its beginning, holds one JSON array."""
    peek = getattr(file, "peek", None)
    return peek is not None and ARRAY.match(peek(HEAD)[:HEAD]) is not None


def array_entries(
    file: io.BufferedIOBase, name: str, options: ReadOptions, log: ProblemLog, watch: ColumnWatch
) -> Iterator[Entry]:
    """Yields one document an object; unusable ones go to the log with number and byte offset.

    Raises:
        CorpusError: If the array is damaged: there is no telling where the next object begins.
    """
    array = _Array(file, options.decoding, name)
    for number, (offset, text) in enumerate(array.values(), start=1):
        where = f"{name} item {number} (byte {offset})"
        try:
            record = json.loads(array.checked(text, offset))
        except UndecodableError as error:
            log.add(error.reason, where, error.detail)
            continue
        if not isinstance(record, dict):
            kind = type(record).__name__
            log.add("not_an_object", where, f"the array must hold JSON objects, not {kind}")
            continue
        watch.see(record)
        document = to_document(record, where, log, options)
        if document is not None:
            yield Entry(document, where)


class _Array:
    """The values of an array, found with a window of text that slides over the file."""

    def __init__(self, file: io.BufferedIOBase, decoding: Decoding, name: str) -> None:
        head = file.read(4)
        self._decoding, self._offset = decoding.for_file(head)
        self._file = file
        self._name = name
        # Bytes that do not fit become lone surrogates, from which their place is found again.
        self._characters = codecs.getincrementaldecoder(self._decoding.encoding)("surrogateescape")
        self._text = self._characters.decode(head[self._offset :])
        self._at = 0
        self._ended = False

    def values(self) -> Iterator[tuple[int, str]]:
        """Yields byte offset and text of each value."""
        self._expect("[")
        self._skip_space()
        if self._peek() == "]":
            self._expect("]")
        else:
            while True:
                self._skip_space()
                offset = self._offset
                yield offset, self._take(self._end_of_value())
                self._skip_space()
                if self._peek() != ",":
                    break
                self._expect(",")
            self._expect("]")
        self._skip_space()
        if self._peek():
            raise self._damaged("something follows the end of the array")

    def checked(self, text: str, offset: int) -> str:
        """Returns the text of a value with undecodable bytes treated as the options say."""
        if not UNDECODED.search(text):
            return text
        return self._decoding.decode(self._bytes(text), offset)

    def _bytes(self, text: str) -> bytes:
        return text.encode(self._decoding.encoding, "surrogateescape")

    def _more(self) -> bool:
        """Widens the window, to twice its size at least; returns False at the end of the file."""
        if self._ended:
            return False
        block = self._file.read(max(BLOCK, len(self._text) - self._at))
        self._ended = not block
        new = self._characters.decode(block, final=self._ended)
        self._text, self._at = self._text[self._at :] + new, 0
        return True

    def _take(self, end: int) -> str:
        taken, self._at = self._text[self._at : end], end
        self._offset += len(self._bytes(taken))
        return taken

    def _peek(self) -> str:
        while self._at == len(self._text):
            if not self._more():
                return ""
        return self._text[self._at]

    def _skip_space(self) -> None:
        while self._peek():
            match = SPACE.match(self._text, self._at)
            assert match is not None
            self._take(match.end())
            if self._at < len(self._text):
                return

    def _expect(self, character: str) -> None:
        self._skip_space()
        if self._peek() != character:
            found = repr(self._peek()) if self._peek() else "the end of the file"
            raise self._damaged(f"{character!r} was expected, not {found}")
        self._take(self._at + 1)

    def _end_of_value(self) -> int:
        decoder: Any = json.JSONDecoder()
        while True:
            try:
                end = int(decoder.raw_decode(self._text, self._at)[1])
                if end < len(self._text) or self._ended:  # else a number may go on
                    return end
                reason = ""
            except (ValueError, RecursionError) as error:
                reason = str(error)
            if len(self._text) - self._at > MAX_ENTRY_BYTES:
                limit = shown_bytes(MAX_ENTRY_BYTES)
                raise self._damaged(f"no value ends within {limit} ({reason})")
            if not self._more() and reason:
                raise self._damaged(reason)

    def _damaged(self, reason: str) -> CorpusError:
        return CorpusError(
            f"`corpus` {self._name} is a damaged JSON array at byte {self._offset}: {reason}. What "
            "follows cannot be read; mend it, or turn it to JSON lines: jq -c '.[]'"
        )


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


JSON_LINES = Reader(
    "JSON lines", (".jsonl", ".ndjson", ".json"), read_jsonl, only_alone=(".json",), place=1
)
