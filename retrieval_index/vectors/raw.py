"""Raw float32 rows in a file without a header: row r starts at byte 4 * dimension * r."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from retrieval_index.errors import ArgumentError, CorruptIndexError
from retrieval_index.storage.durable import fsync_folder
from retrieval_index.vectors.rows import check_rows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class RawWriter:
    """Streams rows to a file that is whole and on the disk when the block ends, or absent.

    Args:
        path: The file; replaced if it exists.
        dimension: Length of a row.
    """

    def __init__(self, path: Path, dimension: int) -> None:
        self._path = path
        self._temporary = path.with_name(f"{path.name}.tmp")
        self._dimension = dimension
        self._file: Any = None
        self.count = 0

    def __enter__(self) -> RawWriter:
        self._file = self._temporary.open("wb")
        return self

    def append(self, rows: npt.NDArray[np.float32]) -> None:
        """Writes rows of shape (n, dimension) behind those already written."""
        rows = check_rows(rows, self._dimension)
        self._file.write(rows.astype("<f4", copy=False).data)
        self.count += len(rows)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._file as file:
            if kind is None:
                file.flush()
                os.fsync(file.fileno())
        if kind is not None:
            self._temporary.unlink(missing_ok=True)
            return
        os.replace(self._temporary, self._path)
        fsync_folder(self._path.parent)


def write_raw(parts: Iterable[npt.NDArray[np.float32]], dimension: int, path: Path) -> int:
    """Writes all rows durably.

    Args:
        parts: Arrays of shape (n, dimension).
        dimension: Length of a row.
        path: The file to write.

    Returns:
        The number of rows.
    """
    with RawWriter(path, dimension) as writer:
        for part in parts:
            writer.append(part)
    return writer.count


def read_raw(path: Path, count: int, dimension: int) -> npt.NDArray[np.float32]:
    """Opens raw rows, memory-mapped and read-only.

    Args:
        path: The file.
        count: Number of rows it must hold.
        dimension: Length they must have.

    Returns:
        Array of shape (count, dimension).

    Raises:
        CorruptIndexError: If it cannot be opened or its size is another.
    """
    import numpy as np

    if count < 1 or dimension < 1:
        raise ArgumentError(
            f"`count` and `dimension` must be >= 1; received: {count}, {dimension}."
        )
    expected = 4 * count * dimension
    try:
        size = path.stat().st_size
        if size != expected:
            raise CorruptIndexError(
                f"{path} has {size:,} bytes; {count:,} rows of {dimension} floats are {expected:,}."
            )
        return np.memmap(path, dtype="<f4", mode="r", shape=(count, dimension))
    except OSError as error:
        raise CorruptIndexError(f"{path} cannot be opened: {error}") from error
