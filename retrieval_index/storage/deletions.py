"""Which documents of a segment are deleted: their numbers, ascending, as little-endian int32."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval_index.errors import CorruptIndexError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


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
