"""The ids of precomputed vectors: read from a file, and found again in a table."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_index.errors import EncoderError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

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
    path = Path(source).expanduser()
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


_BATCH = 65_536
NOT_FOUND = -1


class IdTable:
    """Finds the row of an id by a 128-bit hash of it.

    Takes 24 bytes an id, where a dict of str takes some 150. With 128 bits, two ids of a billion
    share a hash with a probability below 10**-20.

    Args:
        ids: The ids in the order of their rows; read once.

    Raises:
        EncoderError: If an id stands there twice.
    """

    def __init__(self, ids: Iterable[str]) -> None:
        import numpy as np

        iterator = iter(ids)
        parts = []
        digest = hashlib.sha256()
        while batch := list(islice(iterator, _BATCH)):
            hashes = _hashes(batch)
            digest.update(hashes.tobytes())
            parts.append(hashes)
        hashes = np.concatenate(parts) if parts else np.empty((0, 2), dtype="<u8")
        order = np.lexsort((hashes[:, 1], hashes[:, 0]))
        self._high, self._low = hashes[order, 0], hashes[order, 1]
        self._rows = order.astype(np.int64)
        self.digest = digest.hexdigest()
        same = (self._high[1:] == self._high[:-1]) & (self._low[1:] == self._low[:-1])
        if same.any():
            first = int(np.argmax(same))
            rows = sorted((int(order[first]), int(order[first + 1])))
            raise EncoderError(
                f"`ids` must be unique; rows {rows[0]} and {rows[1]} (from 0) have the same one, "
                f"and {int(same.sum())} rows in all repeat an earlier id."
            )

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self, ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Returns the row of each id, int64 of shape (len(ids),); -1 where there is none."""
        import numpy as np

        found = np.full(len(ids), NOT_FOUND, dtype=np.int64)
        if not len(self) or not ids:
            return found
        wanted = _hashes(ids)
        places = np.searchsorted(self._high, wanted[:, 0])
        # Two ids may share the high half; the rows of one high half lie together.
        open_ones = np.arange(len(ids))
        while len(open_ones):
            inside = places[open_ones] < len(self)
            open_ones = open_ones[inside]
            here = places[open_ones]
            alike = self._high[here] == wanted[open_ones, 0]
            hit = alike & (self._low[here] == wanted[open_ones, 1])
            found[open_ones[hit]] = self._rows[here[hit]]
            open_ones = open_ones[alike & ~hit]
            places[open_ones] += 1
        return found


def _hashes(ids: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Returns the hashes as uint64 of shape (len(ids), 2)."""
    import numpy as np

    data = b"".join(
        hashlib.blake2b(each.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        for each in ids
    )
    halves: npt.NDArray[np.uint64] = np.frombuffer(data, dtype="<u8").reshape(-1, 2)
    return halves
