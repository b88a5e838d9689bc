"""Exact rows and exact search over them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from retrieval_index.errors import CorruptIndexError
from retrieval_index.vectors.rows import RowMask, block_rows, load_faiss

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Found = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]

# FAISS (and so this module) multiplies matrices from so many queries on, and loops below.
BLAS_QUERIES = 20


class ExactRows(Protocol):
    """The vectors of an index as they were added."""

    def at(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Returns copies of rows, shape (len(numbers), dimension)."""
        ...

    def search(self, queries: npt.NDArray[np.float32], k: int, mask: RowMask | None) -> Found:
        """Returns the k nearest allowed rows of every query; at least k must be allowed."""
        ...


class ArrayRows:
    """Rows in an array, in memory or memory-mapped.

    Args:
        array: float32 of shape (count, dimension), contiguous.
    """

    def __init__(self, array: npt.NDArray[np.float32]) -> None:
        self._array = array

    def at(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Returns copies of rows, shape (len(numbers), dimension)."""
        import numpy as np

        return np.asarray(self._array[numbers])

    def search(self, queries: npt.NDArray[np.float32], k: int, mask: RowMask | None) -> Found:
        """Returns the k nearest allowed rows of every query; at least k must be allowed."""
        import numpy as np

        faiss = load_faiss()
        if len(queries) < BLAS_QUERIES and mask is not None:
            return self.nearest_of(queries, mask.numbers()[None], k)
        size = block_rows(self._array.shape[1])
        heap = faiss.ResultHeap(len(queries), k, keep_max=True)
        for first in range(0, len(self._array), size):
            block = self._array[first : first + size]
            numbers = None
            if mask is not None:
                allowed = mask.allowed[first : first + size]
                if not allowed.all():
                    numbers = np.flatnonzero(allowed)
                    block = block[numbers]
            if len(block):
                scores, found = faiss.knn(
                    queries, block, min(k, len(block)), faiss.METRIC_INNER_PRODUCT
                )
                found = found if numbers is None else numbers[found]
                heap.add_result(scores, found + first)
        heap.finalize()
        return heap.D, heap.I

    def nearest_of(
        self, queries: npt.NDArray[np.float32], candidates: npt.NDArray[np.int64], k: int
    ) -> Found:
        """Returns the k nearest of each query's candidates, without copying a row.

        Args:
            queries: float32 of shape (n, dimension).
            candidates: Row numbers, int64 of shape (n, m), or (1, m) for the same for all
                queries; -1 behind the last one if there are fewer.
            k: Results wanted.

        Returns:
            Scores and row numbers of shape (n, k), padded with -inf and -1.

        Raises:
            CorruptIndexError: If a candidate is no row: FAISS would read outside the file.
        """
        import numpy as np

        faiss = load_faiss()
        candidates = np.ascontiguousarray(candidates, np.int64)
        if candidates.max(initial=-1) >= len(self._array):
            raise CorruptIndexError(
                f"The index returned row {candidates.max()} of {len(self._array)} rows."
            )
        scores = np.empty((len(queries), k), np.float32)
        numbers = np.empty((len(queries), k), np.int64)
        width = candidates.shape[1]
        faiss.knn_inner_products_by_idx(
            faiss.swig_ptr(queries),
            faiss.swig_ptr(self._array),
            faiss.swig_ptr(candidates),
            self._array.shape[1],
            len(queries),
            len(self._array),
            width,
            k,
            faiss.swig_ptr(scores),
            faiss.swig_ptr(numbers),
            0 if len(candidates) == 1 else width,
        )
        scores[numbers < 0] = -np.inf
        return scores, numbers


class ListRows:
    """Rows in the inverted lists of an IVF,Flat index.

    Args:
        index: The FAISS index.
    """

    def __init__(self, index: Any) -> None:
        self._index = index
        self._lock = threading.Lock()
        self._mapped = False

    def at(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Returns copies of rows, shape (len(numbers), dimension)."""
        with self._lock:  # where each row lies: 8 bytes a row, once, and only if rows are wanted
            if not self._mapped:
                self._ask(self._index.make_direct_map, True)
                self._mapped = True
        rows: npt.NDArray[np.float32] = self._ask(self._index.reconstruct_batch, numbers)
        return rows

    def _ask(self, question: Callable[[Any], Any], argument: Any) -> Any:
        try:
            return question(argument)
        except RuntimeError as error:  # a row is in no list, or in two, or is none
            raise CorruptIndexError(f"The inverted lists are damaged: {error}") from error

    def search(self, queries: npt.NDArray[np.float32], k: int, mask: RowMask | None) -> Found:
        """Returns the k nearest allowed rows of every query; at least k must be allowed."""
        import numpy as np

        faiss = load_faiss()
        lists = self._index.nlist
        selection = {} if mask is None else {"sel": mask.selector()}
        parameters = faiss.SearchParametersIVF(nprobe=lists, **selection)
        scores = np.empty((len(queries), k), np.float32)
        numbers = np.empty((len(queries), k), np.int64)
        size = max(1, (1 << 22) // lists)
        for first in range(0, len(queries), size):
            part = queries[first : first + size]
            # Every list, named: the graph over the lists, where there is one, may miss some.
            every = np.tile(np.arange(lists, dtype=np.int64), (len(part), 1))
            distances = np.zeros(every.shape, np.float32)
            self._index.search_preassigned_c(
                len(part),
                faiss.swig_ptr(part),
                k,
                faiss.swig_ptr(every),
                faiss.swig_ptr(distances),
                faiss.swig_ptr(scores[first : first + size]),
                faiss.swig_ptr(numbers[first : first + size]),
                False,
                parameters,
            )
        return scores, numbers
