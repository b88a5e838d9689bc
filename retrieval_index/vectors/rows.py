"""Arrays of vectors: checked, and cut into blocks that do not depend on how they arrive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from retrieval_index.errors import ArgumentError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

BLOCK_BYTES = 1 << 25  # 21,845 rows of 384 floats: large enough for BLAS, small next to an index


def check_rows(
    rows: npt.NDArray[np.float32], dimension: int, name: str = "vectors"
) -> npt.NDArray[np.float32]:
    """Returns rows as contiguous float32, or raises `ArgumentError` that names what is wrong."""
    import numpy as np

    array = np.asarray(rows)
    if array.ndim != 2 or array.shape[1] != dimension or array.dtype.kind not in "fiu":
        raise ArgumentError(
            f"`{name}` must be numbers of shape (n, {dimension}); received: {array.dtype} of shape "
            f"{array.shape}."
        )
    array = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise ArgumentError(f"`{name}` must be finite; row {row} holds NaN or infinity.")
    return array


def block_rows(dimension: int) -> int:
    """Returns how many vectors are worked on at a time."""
    return max(1, BLOCK_BYTES // (4 * dimension))


def in_blocks(
    parts: Iterable[npt.NDArray[np.float32]], dimension: int
) -> Iterator[npt.NDArray[np.float32]]:
    """Cuts parts of any length into blocks of one length, the last one shorter.

    FAISS inserts the vectors of one `add` into a graph in an order of its own, so the same vectors
    in other parts would give another graph.

    Args:
        parts: Arrays of shape (n, dimension).
        dimension: Length of a vector.

    Yields:
        Arrays of shape (block_rows(dimension), dimension).
    """
    import numpy as np

    size = block_rows(dimension)
    waiting: list[npt.NDArray[np.float32]] = []
    held = 0
    for part in parts:
        part = check_rows(part, dimension)
        while len(part):
            piece = part[: size - held]
            waiting.append(piece)
            held += len(piece)
            part = part[len(piece) :]
            if held == size:
                yield waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
                waiting, held = [], 0
    if held:
        yield np.concatenate(waiting)
