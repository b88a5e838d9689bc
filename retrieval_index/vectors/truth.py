"""Exact search for some queries, and what a setting of the search parameters is worth beside it."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from retrieval_index.arguments import check_positive
from retrieval_index.errors import ArgumentError
from retrieval_index.vectors.rows import check_rows
from retrieval_index.vectors.searcher import VectorSearcher
from retrieval_index.vectors.threads import openmp_threads

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float32]

TIMED_QUERIES = 50
BATCH = 100
TOLERANCE = 1e-5  # scores differ in the last bits with the way they are summed up


@dataclass(frozen=True)
class OperatingPoint:
    """One setting of the search parameters, measured.

    Attributes:
        parameters: The setting.
        recall: Share of the true k nearest rows found, averaged over queries. A row as near as the
            k-th nearest counts as one of them: equal rows do not cost recall.
        milliseconds: Median time of one query searched alone, one thread.
        batch_milliseconds: Time per query of a batch of up to 100, all threads of FAISS.
        optimal: Whether no other point has more recall in less time (Pareto frontier).
    """

    parameters: dict[str, int]
    recall: float
    milliseconds: float
    batch_milliseconds: float
    optimal: bool = False


class Truth:
    """The k nearest rows of some queries, by exact search.

    Args:
        searcher: The index; its parameters do not matter.
        queries: float32 of shape (n, dimension).
        k: Results per query.
        exclude: If queries are rows of the index: their numbers, int64 of shape (n,). Each is left
            out of its own results, which it would lead, easily found.

    Raises:
        ArgumentError: If there are no queries, fewer than k rows, or an argument is misshapen.
    """

    def __init__(
        self,
        searcher: VectorSearcher,
        queries: npt.NDArray[np.float32],
        k: int,
        exclude: npt.NDArray[np.int64] | None = None,
    ) -> None:
        import numpy as np

        self._queries = check_rows(queries, searcher.dimension, "queries")
        self._k = check_positive("k", k)
        if len(queries) == 0:
            raise ArgumentError("`queries` must be at least 1; received none.")
        self._own = None if exclude is None else _numbers(exclude, len(queries))
        self._wanted = k + (exclude is not None)
        if searcher.count < self._wanted:
            raise ArgumentError(f"`k` is {k}, but the index has {searcher.count} rows to find.")
        last = self._others(*searcher.exact(self._queries, self._wanted))[:, k - 1]
        self._least = last - TOLERANCE * np.maximum(1, np.abs(last))

    def point(self, searcher: VectorSearcher) -> OperatingPoint:
        """Returns recall@k and times of a searcher of the same index as it is."""
        scores = self._others(*searcher.search(self._queries, self._wanted))
        recall = float((scores[:, : self._k] >= self._least[:, None]).mean())
        return OperatingPoint(searcher.parameters, recall, *self._times(searcher))

    def _times(self, searcher: VectorSearcher) -> tuple[float, float]:
        """Returns milliseconds of one query alone on one thread, and of one in a batch on all."""
        import numpy as np

        single = []
        with openmp_threads(1):
            for number in range(min(len(self._queries), TIMED_QUERIES)):
                start = perf_counter()
                searcher.search(self._queries[number : number + 1], self._wanted)
                single.append(perf_counter() - start)
        batch = self._queries[:BATCH]
        start = perf_counter()
        searcher.search(batch, self._wanted)
        return 1e3 * float(np.median(single)), 1e3 * (perf_counter() - start) / len(batch)

    def _others(self, scores: Scores, numbers: npt.NDArray[np.int64]) -> Scores:
        """Returns the scores with that of each query's own row moved behind the others."""
        import numpy as np

        if self._own is None:
            return scores
        order = np.argsort(numbers == self._own[:, None], axis=1, kind="stable")
        return np.take_along_axis(scores, order, 1)


def _numbers(exclude: npt.NDArray[np.int64], queries: int) -> npt.NDArray[np.int64]:
    import numpy as np

    own = np.asarray(exclude)
    if own.shape != (queries,) or own.dtype.kind not in "iu":
        raise ArgumentError(
            f"`exclude` must be one row number per query, shape ({queries},); received: "
            f"{own.dtype} of shape {own.shape}."
        )
    return own.astype(np.int64)
