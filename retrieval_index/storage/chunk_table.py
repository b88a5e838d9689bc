"""Which characters of which document each passage is: one row of four numbers a passage.

The file has no header: little-endian int32 rows (document, start, end, heading), in the order of
the passages; the heading is a number in the document store, or -1. It is memory-mapped, so that a
million passages cost nothing until they are looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from retrieval_index.errors import CorpusError, CorruptIndexError
from retrieval_index.storage.durable import fsync_file

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Rows = npt.NDArray[np.int32]

COLUMNS = 4
ROW_BYTES = 4 * COLUMNS
BUFFERED_ROWS = 65_536
MAX_CHARACTERS = 2**31 - 1


class ChunkTableWriter:
    """Appends rows to a new file.

    Args:
        path: The file; whatever is there is replaced.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb")
        self._rows: list[tuple[int, int, int, int]] = []
        self.count = 0

    def add(self, document: int, start: int, end: int, heading: int) -> None:
        """Adds the next passage.

        Raises:
            CorpusError: If the document has more than 2**31 - 1 characters.
        """
        if end > MAX_CHARACTERS:
            raise CorpusError(
                f"`corpus`: document number {document} has a passage that ends at character {end}; "
                f"documents may have {MAX_CHARACTERS} characters. Split it."
            )
        self._rows.append((document, start, end, heading))
        self.count += 1
        if len(self._rows) == BUFFERED_ROWS:
            self._flush()

    def finish(self) -> None:
        """Makes the file complete and durable."""
        self._flush()
        self._file.close()
        fsync_file(self._path)

    def close(self) -> None:
        """Lets go of the file; without `finish` before, it is of no use."""
        self._file.close()

    def _flush(self) -> None:
        import numpy as np

        self._file.write(np.array(self._rows, dtype="<i4").tobytes())
        self._rows.clear()


def read_chunk_table(path: Path, count: int, documents: int) -> Rows:
    """Maps the table into memory and looks over all of it.

    Args:
        path: The file.
        count: Rows it must have.
        documents: Documents there are.

    Returns:
        int32 (count, 4), read-only: document, start, end, heading.

    Raises:
        CorruptIndexError: If size or content cannot be.
    """
    import numpy as np

    try:
        size = path.stat().st_size
        if size != count * ROW_BYTES:
            raise CorruptIndexError(
                f"{path} has {size} bytes; {count} passages take {count * ROW_BYTES}."
            )
        # A plain array over the mapped file: a row of `np.memmap` itself takes ten times as long.
        rows: Rows = np.asarray(np.memmap(path, dtype="<i4", mode="r", shape=(count, COLUMNS)))
    except OSError as error:
        raise CorruptIndexError(f"{path} cannot be opened: {error}.") from error
    numbers = rows[:, 0]
    # Passages stand in the order of their documents, from the first to the last: what a search
    # looks up can then not point outside. Documents without a passage do not exist.
    steps = np.diff(numbers)
    if numbers[0] != 0 or numbers[-1] != documents - 1 or ((steps != 0) & (steps != 1)).any():
        raise CorruptIndexError(f"{path}: the passages do not follow the order of the documents.")
    if (rows[:, 1] < 0).any() or (rows[:, 2] < rows[:, 1]).any() or (rows[:, 3] < -1).any():
        raise CorruptIndexError(f"{path}: a passage has characters that cannot be.")
    return rows
