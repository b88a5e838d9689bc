"""JSON lines, plain or gzip, in the layout of BEIR or close to it."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from retrieval_index.corpus.document import Entry
from retrieval_index.corpus.problem_log import ProblemLog
from retrieval_index.corpus.records import to_document
from retrieval_index.errors import CorpusError

GZIP_MAGIC = b"\x1f\x8b"
UTF8_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class JsonlCorpus:
    """One JSON object a line, read once, in order, a line at a time."""

    path: Path

    @property
    def description(self) -> str:
        """What is read, for reports."""
        return str(self.path)

    def read(self, log: ProblemLog) -> Iterator[Entry]:
        """Yields the documents; unusable lines go to the log with line number and byte offset.

        Raises:
            CorpusError: If the file cannot be read or its gzip stream is damaged (always), or a
                line is unusable (when the log is strict).
        """
        try:
            with self._open() as file:
                yield from self._entries(file, log)
        except (OSError, EOFError, zlib.error) as error:
            # gzip.BadGzipFile is an OSError. The rest of a damaged stream is lost, and nobody can
            # say how much that is, so this is an error even when not strict.
            raise CorpusError(
                f"`corpus` {self.path} cannot be read to its end: {error}."
            ) from error

    def _open(self) -> IO[bytes]:
        with self.path.open("rb") as file:
            compressed = file.read(2) == GZIP_MAGIC
        if compressed:
            return cast("IO[bytes]", gzip.open(self.path, "rb"))
        return self.path.open("rb")

    def _entries(self, file: IO[bytes], log: ProblemLog) -> Iterator[Entry]:
        offset = 0
        for number, raw in enumerate(file, start=1):
            where = f"{self.path.name} line {number} (byte {offset})"
            offset += len(raw)
            line = raw.removeprefix(UTF8_BOM) if number == 1 else raw
            if not line.strip():
                continue  # an empty line, as many files have at their end, is no entry
            record = _parse(line, where, log)
            if record is None:
                continue
            document = to_document(record, where, log)
            if document is not None:
                yield Entry(document, where)


def _parse(line: bytes, where: str, log: ProblemLog) -> dict[str, object] | None:
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        bad = line[error.start]
        log.add("not_utf8", where, f"byte 0x{bad:02x} at {error.start} of the line is not UTF-8")
    except (ValueError, RecursionError) as error:
        log.add("not_json", where, f"the line is not JSON ({error})")
    else:
        if isinstance(record, dict):
            return record
        kind = type(record).__name__
        log.add("not_an_object", where, f"the line must hold a JSON object, not {kind}")
    return None
