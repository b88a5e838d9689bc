"""Ids of vectors, from wherever they are kept."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from retrieval_index.errors import EncoderError

_KEYS = ("_id", "id")


def read_ids(source: str | os.PathLike[str] | Iterable[Any], count: int) -> Iterator[str]:
    """Yields the ids of vectors in the order of their rows.

    Args:
        source: A .npy file of strings or whole numbers (never pickled objects), a .txt file with
            one id a line, a .jsonl file whose lines have `_id` or `id` (the corpus itself, if its
            order is that of the vectors), or an iterable.
        count: Number of vectors.

    Raises:
        EncoderError: If the ids are unreadable, empty, or not as many as the vectors.
    """
    number = 0
    for each in _ids(source):
        kind_fits = isinstance(each, str) or hasattr(each, "__index__")
        if isinstance(each, bool) or not kind_fits or each == "":
            raise EncoderError(
                f"`ids` must be non-empty strings or whole numbers; row {number} has {each!r:.80}."
            )
        number += 1
        if number <= count:
            yield str(each)
    if number != count:
        raise EncoderError(f"`ids` must be one for each of {count} vectors; received {number}.")


def _ids(source: str | os.PathLike[str] | Iterable[Any]) -> Iterable[Any]:
    if not isinstance(source, str | os.PathLike):
        # NumPy's numbers and strings become Python's.
        return getattr(source, "tolist", lambda: source)()  # type: ignore[no-any-return]
    path = Path(source)
    if path.suffix == ".npy":
        return _from_npy(path)
    if path.suffix == ".txt":
        return _lines(path)
    if path.suffix == ".jsonl":
        return _from_jsonl(path)
    raise EncoderError(
        f"`ids` must be a .npy, .txt or .jsonl file, or the ids themselves; received: {source!r}."
    )


def _from_npy(path: Path) -> Iterator[Any]:
    import numpy as np

    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise EncoderError(f"`ids` {path} is no readable .npy file of ids: {error}") from error
    if array.ndim != 1 or array.dtype.kind not in "USiu":
        raise EncoderError(
            f"`ids` {path} must hold one string or whole number for each vector; received an array "
            f"of shape {array.shape} and dtype {array.dtype}."
        )
    for begin in range(0, len(array), 65_536):
        for each in array[begin : begin + 65_536].tolist():
            yield each.decode("utf-8") if isinstance(each, bytes) else each


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for line in file:
                yield line.rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise EncoderError(f"`ids` {path} cannot be read: {error}") from error


def _from_jsonl(path: Path) -> Iterator[Any]:
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise EncoderError(f"`ids` {path}, line {number}, is no JSON: {error}") from error
        key = next((key for key in _KEYS if isinstance(entry, dict) and key in entry), None)
        if key is None:
            raise EncoderError(f"`ids` {path}, line {number}, has neither `_id` nor `id`.")
        yield entry[key]
