"""`metrics.jsonl`: one line per epoch, durable as soon as it is written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from kzoo.files import write_text
from kzoo.runs.errors import RunError


def append(path: Path, row: dict[str, Any]) -> None:
    """Adds a line and waits until it is on the disk."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def read(path: Path) -> list[dict[str, Any]]:
    """The lines, oldest first; a last line that was cut off by a crash is left out.

    Raises:
        RunError: A line before the last is no JSON object.
    """
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    rows = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(line)
        except ValueError as error:
            if number == len(lines):  # no newline behind it: torn
                break
            raise RunError(f"{str(path)!r} line {number} is damaged.") from error
        rows.append(row)
    return rows


def keep_epochs(path: Path, epochs: int) -> list[dict[str, Any]]:
    """Drops the lines of later epochs, which will be trained again, and returns the others."""
    rows = [row for row in read(path) if row["epoch"] <= epochs]
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
    return rows
