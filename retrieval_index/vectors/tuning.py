"""Search parameters found by measurement against exact search."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING

from retrieval_index.errors import ArgumentError, check_positive
from retrieval_index.vectors.rows import check_rows, load_faiss, openmp_threads
from retrieval_index.vectors.searcher import VectorSearcher

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


class ExactNeighbours:
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


K_FACTORS = (1, 2, 4, 8, 16, 32, 64)
SATURATED = 0.9995  # from here on a wider search only costs more
NO_GAIN = 0.0005


@dataclass(frozen=True)
class Tuning:
    """The setting that was chosen, and all that were measured.

    Attributes:
        parameters: For `VectorSearcher`.
        recall: As measured; see `OperatingPoint`.
        milliseconds: Median time of one query searched alone, one thread.
        batch_milliseconds: Time per query of a batch, all threads.
        queries: Number of queries measured with.
        k: Results per query.
        met: Whether the wanted recall and latency are both reached.
        reason: One sentence for the user.
        points: Every setting measured, in the order of recall.
    """

    parameters: dict[str, int]
    recall: float
    milliseconds: float
    batch_milliseconds: float
    queries: int
    k: int
    met: bool
    reason: str
    points: list[OperatingPoint] = field(repr=False)


def tune(
    searcher: VectorSearcher,
    queries: npt.NDArray[np.float32],
    *,
    k: int = 10,
    recall: float = 0.95,
    latency: float | None = None,
    exclude: npt.NDArray[np.int64] | None = None,
) -> Tuning:
    """Finds the fastest search parameters with enough recall, by trying them.

    The values to try are FAISS's own (`ParameterSpace`), and its `OperatingPoints` says which
    points are optimal. Its `explore` is not used: it sets the parameters on the index, which other
    threads may be searching, and knows nothing of `k_factor`, the candidates scored again with raw
    vectors, on which the recall of lossy codes depends.

    Args:
        searcher: The index; its parameters do not matter and are not changed.
        queries: float32 of shape (n, dimension), not the ones the result is reported on later.
        k: Results per query for which recall is measured.
        recall: The recall wanted, in (0, 1].
        latency: Milliseconds one query may take, one thread. If recall and latency exclude each
            other, latency decides: of the points fast enough, the one with most recall.
        exclude: If queries are rows of the index: their numbers, int64 of shape (n,). Each is left
            out of its own results, which it would lead, easily found.

    Returns:
        The setting, its measurements, and all others.

    Raises:
        ArgumentError: If there are no queries, fewer than k rows, or an argument is out of range.
    """
    if not 0 < recall <= 1:
        raise ArgumentError(f"`recall` must be in (0, 1]; received: {recall!r}.")
    if latency is not None and not latency > 0:
        raise ArgumentError(f"`latency` must be milliseconds above 0; received: {latency!r}.")
    exact = ExactNeighbours(searcher, queries, k, exclude)
    points: list[OperatingPoint] = []
    for breadth in _breadths(searcher):
        reached = -1.0
        for k_factor in K_FACTORS if searcher.family.lossy else (None,):
            parameters = dict(breadth)
            if k_factor is not None:
                parameters["k_factor"] = k_factor
            point = exact.point(searcher.with_parameters(parameters))
            points.append(point)
            if point.recall - reached < NO_GAIN:
                break  # more candidates add nothing to what this breadth finds
            reached = point.recall
        if max(point.recall for point in points) >= SATURATED:
            break
    return _decide(_mark_optimal(points), len(queries), k, recall, latency)


def _breadths(searcher: VectorSearcher) -> list[dict[str, int]]:
    """Returns FAISS's values of nprobe or efSearch, ascending, and wider ones for hard cases."""
    faiss = load_faiss()
    space = faiss.ParameterSpace()
    space.initialize(searcher.index)
    values: dict[str, list[int]] = {}
    for number in range(space.parameter_ranges.size()):
        held = space.parameter_ranges.at(number)  # a copy, freed when no name holds it
        values[held.name] = [int(value) for value in faiss.vector_to_array(held.values)]
    if searcher.family.graph is not None:
        return [{"efSearch": value} for value in (*values["efSearch"], 1024, 2048)]
    if searcher.family.lists is not None:
        # FAISS ends below the number of lists, where nothing is missed.
        tried = sorted({*values.get("nprobe", ()), searcher.family.lists})
        return [{"nprobe": value} for value in tried]
    return [{}]


def _mark_optimal(points: list[OperatingPoint]) -> list[OperatingPoint]:
    faiss = load_faiss()
    frontier = faiss.OperatingPoints()
    for number, point in enumerate(points):
        frontier.add(point.recall, point.milliseconds, str(number), number)
    optimal = frontier.optimal_pts
    keys = {optimal.at(number).key for number in range(optimal.size())}
    marked = [replace(point, optimal=str(number) in keys) for number, point in enumerate(points)]
    return sorted(marked, key=lambda point: (point.recall, point.milliseconds))


def _decide(
    points: list[OperatingPoint], queries: int, k: int, recall: float, latency: float | None
) -> Tuning:
    enough = [point for point in points if point.recall >= recall]
    fast = [point for point in points if latency is None or point.milliseconds <= latency]
    both = [point for point in enough if point in fast]
    if both:
        best = min(both, key=lambda point: (point.milliseconds, -point.recall))
        reason = f"the fastest setting with recall@{k} of at least {recall:g}"
    elif fast:
        best = max(fast, key=lambda point: (point.recall, -point.milliseconds))
        within = "" if latency is None else f" within {latency:g} ms a query"
        reason = f"no setting has recall@{k} {recall:g}{within}; this one has most"
    else:
        best = min(points, key=lambda point: (point.milliseconds, -point.recall))
        reason = f"no setting takes {latency:g} ms a query or less; this one is fastest"
    return Tuning(
        best.parameters,
        best.recall,
        best.milliseconds,
        best.batch_milliseconds,
        queries,
        k,
        bool(both),
        f"{reason}: recall@{k} {best.recall:.3f}, {best.milliseconds:.2g} ms a query.",
        points,
    )
