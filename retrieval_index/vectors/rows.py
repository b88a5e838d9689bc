"""FAISS and what goes into it: arrays of vectors, checked, cut into even blocks, and masked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from retrieval_index.errors import ArgumentError, RetrievalIndexError

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


class RowMask:
    """Rows that may be returned, with what a search derives from them.

    A search makes one of a plain array; make it once and pass it to many searches where the rows
    stay the same, such as all that are not deleted.

    Args:
        allowed: bool of shape (count,). Not copied: leave it as it is.
    """

    def __init__(self, allowed: npt.NDArray[np.bool_]) -> None:
        import numpy as np

        array = np.asarray(allowed)
        if array.ndim != 1 or array.dtype != np.bool_:
            raise ArgumentError(
                f"`allowed` must be bool of shape (count,); received: {array.dtype} of shape "
                f"{array.shape}."
            )
        self.allowed: npt.NDArray[np.bool_] = array
        self.count = int(np.count_nonzero(array))
        self._bits: npt.NDArray[np.uint8] | None = None
        self._numbers: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.allowed)

    def selector(self) -> Any:
        """Returns a FAISS selector of these rows, one for each search: FAISS marks who owns it."""
        import numpy as np

        faiss = load_faiss()
        if self._bits is None:  # two threads at once make two equal ones: harmless
            self._bits = np.packbits(self.allowed, bitorder="little")
        return faiss.IDSelectorBitmap(self._bits)

    def numbers(self) -> npt.NDArray[np.int64]:
        """Returns the numbers of these rows, ascending, int64 of shape (self.count,)."""
        import numpy as np

        if self._numbers is None:
            self._numbers = np.flatnonzero(self.allowed).astype(np.int64, copy=False)
        return self._numbers


def as_mask(allowed: npt.NDArray[np.bool_] | RowMask | None, count: int) -> RowMask | None:
    """Returns the mask of an argument `allowed`; None if it allows every row."""
    if allowed is None:
        return None
    mask = allowed if isinstance(allowed, RowMask) else RowMask(allowed)
    if len(mask) != count:
        raise ArgumentError(f"`allowed` must be of shape ({count},); received: ({len(mask)},).")
    return None if mask.count == count else mask


OLDEST = (1, 15)  # reads damaged files without crashing, and keeps Pareto points undominated


@cache
def load_faiss() -> Any:
    """Returns the module `faiss`; untyped, as its stubs lack most of the classes used here.

    Raises:
        RetrievalIndexError: If it is missing or older than 1.15.
    """
    try:
        import faiss
    except ImportError as error:
        raise RetrievalIndexError(
            "FAISS is missing; install it with: pip install 'faiss-cpu>=1.15'"
        ) from error
    version = str(faiss.__version__)
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise RetrievalIndexError(
            f"FAISS {version} is too old; install a newer one with: pip install 'faiss-cpu>=1.15'"
        )
    return faiss


@contextmanager
def openmp_threads(count: int | None) -> Iterator[None]:
    """Lets FAISS use so many threads in the block, as many as before if None.

    OpenMP keeps this number for every calling thread by itself: others are not slowed down.
    """
    faiss = load_faiss()
    before = faiss.omp_get_max_threads()
    if count is not None:
        faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
