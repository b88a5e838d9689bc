"""Text files of queries, judgements and runs: read by line, written durably."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
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
