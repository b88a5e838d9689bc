"""The files of a segment and their names; which documents are deleted, what each passage is.

Deleted documents are their numbers, ascending, as little-endian int32.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval_index.errors import CorpusError, CorruptIndexError
from retrieval_index.storage.durable import FileEntry, fsync_file, fsync_folder
from retrieval_index.storage.manifest import CHUNKS, DOCUMENTS, LEXICAL, RAW, VECTORS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Rows = npt.NDArray[np.int32]


SEGMENTS = "segments"
DELETED = "deleted"
SNAPSHOTS = "snapshots"
LEXICAL_FOLDER = "lexical"
NAMES = {
    DOCUMENTS: "documents.sqlite",
    CHUNKS: "chunks.i32",
    VECTORS: "vectors.faiss",
    RAW: "vectors.f32",
}


def segment_name(number: int) -> str:
    """Returns the name of a segment, which is that of its folder."""
    return f"s{number:06d}"


def path_of(name: str, key: str) -> str:
    """Returns where the file of a segment lies, relative to the index folder."""
    return f"{SEGMENTS}/{name}/{NAMES.get(key, key)}"


def is_deletions(path: str, name: str) -> bool:
    """Returns whether a path may be that of a segment's file of deletions."""
    return re.fullmatch(rf"{DELETED}/{name}-v\d{{6,12}}\.i32", path) is not None


def describe_files(folder: Path, name: str) -> dict[str, FileEntry]:
    """Returns the entries of all files of a finished segment, and forces their names to the disk.

    Args:
        folder: Where the files are now.
        name: The segment's name, which is where they will be.
    """
    found = {}
    for key, file in NAMES.items():
        if (folder / file).exists():
            found[key] = FileEntry.of(folder / file, path_of(name, key))
    lexical = folder / LEXICAL_FOLDER
    for path in sorted(lexical.rglob("*")):
        if path.is_dir():
            fsync_folder(path)
            continue
        key = LEXICAL + path.relative_to(lexical).as_posix()
        found[key] = FileEntry.of(path, path_of(name, key))
    if lexical.is_dir():
        fsync_folder(lexical)
    fsync_folder(folder)
    return found


def write_deletions(path: Path, dead: npt.NDArray[np.bool_]) -> None:
    """Writes the numbers of the deleted documents durably.

    Args:
        path: The file.
        dead: bool (documents,).
    """
    import numpy as np

    with path.open("wb") as file:
        file.write(np.flatnonzero(dead).astype("<i4").tobytes())
        file.flush()
        os.fsync(file.fileno())


def read_deletions(path: Path, count: int, documents: int) -> npt.NDArray[np.bool_]:
    """Returns which documents are deleted.

    Args:
        path: The file.
        count: Numbers there must be.
        documents: Documents of the segment.

    Returns:
        bool (documents,).

    Raises:
        CorruptIndexError: If the numbers are not `count` different ones below `documents`.
    """
    import numpy as np

    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorruptIndexError(f"{path} cannot be read: {error}.") from error
    numbers = np.frombuffer(data[: len(data) // 4 * 4], dtype="<i4")
    sound = len(data) == 4 * count and len(numbers) > 0 and numbers[0] >= 0
    if not sound or numbers[-1] >= documents or (numbers[1:] <= numbers[:-1]).any():
        raise CorruptIndexError(f"{path} holds no list of {count} deleted documents.")
    dead = np.zeros(documents, dtype=bool)
    dead[numbers] = True
    return dead


# Which characters of which document each passage is: one row of four numbers a passage.
#
# The file has no header: little-endian int32 rows (document, start, end, heading), in the order of
# the passages; the heading is a number in the document store, or -1. It is memory-mapped, so that a
# million passages cost nothing until they are looked at.

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
