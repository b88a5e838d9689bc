"""Search in one FAISS index: exact scores, k results where k exist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from retrieval_index.errors import ArgumentError, CorruptIndexError, check_positive
from retrieval_index.vectors.exact import ArrayRows, ExactRows, ListRows
from retrieval_index.vectors.family import parse_factory
from retrieval_index.vectors.parameters import (
    Setting,
    check_parameters,
    faiss_parameters,
    first_setting,
    wider,
)
from retrieval_index.vectors.rows import RowMask, as_mask, check_rows, load_faiss

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Found = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


class VectorSearcher:
    """Searches the rows of a FAISS index by inner product.

    Scores are inner products with the vectors as they were added: candidates from lossy codes are
    scored again with the raw vectors. Several threads may search at once; nothing is set on the
    index. The vectors should be of unit length, for approximate indexes are made for those.

    Args:
        index: From `read_vectors`. Kept, not copied.
        factory: Its factory string.
        raw: float32 of shape (count, dimension), from `read_raw`. Needed for a lossy index, not
            used otherwise.
        parameters: Search parameters, as `tune` finds them: "efSearch" (HNSW), "nprobe" (IVF),
            "quantizer_efSearch" (IVF_HNSW), "k_factor" (candidates scored again, for each result
            wanted; lossy). None, or a missing one, is a default on the safe side.

    Raises:
        ArgumentError: If a parameter is unknown, or raw vectors are missing or of another shape.
    """

    def __init__(
        self,
        index: Any,
        factory: str,
        raw: npt.NDArray[np.float32] | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        self.index = index
        self.family = parse_factory(factory, index.d)
        self.count = int(index.ntotal)
        self.dimension = int(index.d)
        self.parameters = check_parameters(self.family, parameters)
        self.raw = raw if self.family.lossy else None
        self._rows = self._find_rows()

    @property
    def factory(self) -> str:
        """The FAISS factory string of the index."""
        return self.family.factory

    def with_parameters(self, parameters: Mapping[str, Any] | None) -> VectorSearcher:
        """Returns a searcher of the same index with other search parameters."""
        return VectorSearcher(self.index, self.factory, self.raw, parameters)

    def search(
        self,
        queries: npt.NDArray[np.float32],
        k: int,
        allowed: npt.NDArray[np.bool_] | RowMask | None = None,
    ) -> Found:
        """Returns the nearest rows of every query, k of them wherever k are allowed.

        A query whose first, approximate search finds fewer is searched again ever more widely, in
        the end exactly. Few allowed rows are compared one by one from the start.

        Args:
            queries: float32 of shape (n, dimension).
            k: Results wanted.
            allowed: bool of shape (count,): rows that may be returned; None for all. Make it a
                `RowMask` if many searches share it.

        Returns:
            Scores, float32 of shape (n, k), descending, and row numbers, int64 of shape (n, k);
            -inf and -1 behind the last row, only if fewer than k are allowed.

        Raises:
            ArgumentError: If an argument has another shape, or a query is not finite.
        """
        return self._search(queries, k, allowed, approximate=True)

    def exact(
        self,
        queries: npt.NDArray[np.float32],
        k: int,
        allowed: npt.NDArray[np.bool_] | RowMask | None = None,
    ) -> Found:
        """As `search`, comparing with every allowed row; memory for one block of them at a time."""
        return self._search(queries, k, allowed, approximate=False)

    def rows(self, first: int, count: int) -> npt.NDArray[np.float32]:
        """Returns `count` vectors from number `first` on, as added: shape (count, dimension)."""
        import numpy as np

        if first < 0 or count < 0 or first + count > self.count:
            raise ArgumentError(
                f"`first`, `count` must lie within {self.count} rows; received: {first}, {count}."
            )
        return self._rows.at(np.arange(first, first + count))

    def rows_at(self, numbers: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Returns the vectors with these numbers, as they were added: (len(numbers), dimension)."""
        import numpy as np

        wanted = np.asarray(numbers, dtype=np.int64)
        if wanted.ndim != 1 or (len(wanted) and not 0 <= wanted.min() <= wanted.max() < self.count):
            raise ArgumentError(f"`numbers` must be a list of numbers in 0..{self.count - 1}.")
        return self._rows.at(wanted)

    def _search(
        self,
        queries: npt.NDArray[np.float32],
        k: int,
        allowed: npt.NDArray[np.bool_] | RowMask | None,
        approximate: bool,
    ) -> Found:
        import numpy as np

        queries = check_rows(queries, self.dimension, "queries")
        k = check_positive("k", k)
        mask = as_mask(allowed, self.count)
        available = min(k, self.count if mask is None else mask.count)
        if available == 0 or len(queries) == 0:
            return _padded(np.empty((len(queries), 0)), np.empty((len(queries), 0)), k)
        setting = None
        if approximate:
            setting = first_setting(self.family, self.parameters, self.count, available, mask)
        scores, numbers = self._look(queries, available, mask, setting)
        while setting is not None:
            short = np.flatnonzero(numbers[:, -1] < 0)
            if len(short) == 0:
                break
            setting = wider(self.family, setting, self.count)
            scores[short], numbers[short] = self._look(queries[short], available, mask, setting)
        return (scores, numbers) if available == k else _padded(scores, numbers, k)

    def _look(
        self,
        queries: npt.NDArray[np.float32],
        k: int,
        mask: RowMask | None,
        setting: Setting | None,
    ) -> Found:
        """Returns up to k rows of each query; exactly the k nearest if there is no setting."""
        if setting is None or (self.factory == "Flat" and mask is not None):
            return self._rows.search(queries, k, mask)
        parameters = faiss_parameters(self.family, setting, mask)
        if not self.family.lossy:
            scores, numbers = self.index.search(queries, k, params=parameters)
            if numbers.max() >= self.count:
                raise CorruptIndexError(
                    f"The index returned row {numbers.max()} of {self.count} rows."
                )
            return scores, numbers
        candidates = min(k * setting.k_factor, self.count if mask is None else mask.count)
        _, numbers = self.index.search(queries, candidates, params=parameters)
        assert isinstance(self._rows, ArrayRows)
        return self._rows.nearest_of(queries, numbers, k)

    def _find_rows(self) -> ExactRows:
        import numpy as np

        faiss = load_faiss()
        shape = (self.count, self.dimension)
        if self.family.lossy:
            if self.raw is None:
                raise ArgumentError(
                    f"`raw` must be given: {self.factory} is lossy, and results are scored again "
                    "with the raw vectors."
                )
            if self.raw.shape != shape or self.raw.dtype != np.float32:
                raise ArgumentError(
                    f"`raw` must be float32 of shape {shape}; received: {self.raw.dtype} of shape "
                    f"{self.raw.shape}."
                )
            return ArrayRows(np.ascontiguousarray(self.raw))
        if self.family.lists is not None:
            return ListRows(self.index)
        flat = self.index
        if self.family.graph is not None:
            flat = faiss.downcast_index(self.index.storage)
        return ArrayRows(
            faiss.rev_swig_ptr(flat.get_xb(), self.count * self.dimension).reshape(shape)
        )


def _padded(scores: npt.NDArray[Any], numbers: npt.NDArray[Any], k: int) -> Found:
    import numpy as np

    n, found = scores.shape
    all_scores = np.full((n, k), -np.inf, np.float32)
    all_numbers = np.full((n, k), -1, np.int64)
    all_scores[:, :found] = scores
    all_numbers[:, :found] = numbers
    return all_scores, all_numbers
