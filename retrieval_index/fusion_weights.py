"""Weights for a fusion, chosen from judgements and scored on queries they were not chosen from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval_index.errors import ArgumentError, check_positive
from retrieval_index.evaluation.metrics import Metric, parse_metric, ranked
from retrieval_index.fusion import METHODS, Run, find_method

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from retrieval_index.fusion import FusionMethod

MAX_WEIGHTS = 20_000  # points of the grid; each is evaluated on each query


@dataclass(frozen=True, slots=True)
class TunedMethod:
    """What one fusion method reached.

    Attributes:
        weights: The best on all queries, one for each run; they sum to 1.
        tuned: Mean over all queries with them: optimistic, as these queries chose them.
        held_out: Mean over all queries, each scored with weights chosen without its fold.
        equal: Mean over all queries with equal weights, which need no judgements.
    """

    weights: tuple[float, ...]
    tuned: float
    held_out: float
    equal: float


@dataclass(frozen=True, slots=True)
class TunedWeights:
    """The outcome of `tune_weights`.

    Attributes:
        method: Name of the best fusion method on all queries.
        weights: Its weights there, one for each run; they sum to 1.
        held_out: Mean over all queries, each scored with the method and the weights that were
            best on the other folds: what to expect on new queries like these.
        metric: Name of the metric.
        queries: How many queries were used.
        runs: Mean of each run alone.
        methods: Each method by name.
    """

    method: str
    weights: tuple[float, ...]
    held_out: float
    metric: str
    queries: int
    runs: tuple[float, ...]
    methods: dict[str, TunedMethod]


def tune_weights(
    runs: Sequence[Run],
    qrels: Mapping[str, Mapping[str, int]],
    metric: str = "nDCG@10",
    *,
    methods: Sequence[str] | Mapping[str, FusionMethod] = tuple(METHODS),
    step: float = 0.1,
    folds: int = 5,
    seed: int = 0,
) -> TunedWeights:
    """Tries all weights of a grid, by cross-validation over the queries.

    Equal weights help most collections and hurt where one run is much better than the other, which
    cannot be seen without judgements. Among weights that do equally well, those nearest to equal
    ones are taken.

    Args:
        runs: Two or more runs: scores by query id and document id. Give them the depth that the
            search will have: the values of a missing document depend on it.
        qrels: Relevance levels by query id and document id. Queries without a relevant document are
            not used; a query without hits scores 0.
        metric: A name of `evaluation`, such as "nDCG@10", "RR@10", "R@100". Default "nDCG@10".
        methods: Names of fusion methods, or methods by a name of your own. Default: all.
        step: Distance of neighbouring weights; 1 / step must be whole. Default 0.1.
        folds: Parts of the queries, 2 or more. Default 5.
        seed: Of the shuffle that deals queries to folds. Default 0.

    Returns:
        The best method and weights, and what they and the others reached.

    Raises:
        ArgumentError: If an argument is not as described, or fewer queries than folds are judged.
    """
    import numpy as np

    if len(runs) < 2:
        raise ArgumentError(f"`runs` must hold at least two runs; received: {len(runs)}.")
    found = _find_methods(methods)
    measure = parse_metric(metric)
    queries = [query for query, levels in qrels.items() if any(v > 0 for v in levels.values())]
    if check_positive("folds", folds) < 2 or len(queries) < folds:
        raise ArgumentError(
            f"`folds` must be at least 2 and at most the {len(queries)} queries of `qrels` with a "
            f"relevant document; received: {folds}."
        )
    if not any(query in run for run in runs for query in queries):
        raise ArgumentError("`runs` hold none of the queries of `qrels`: other ids, perhaps.")
    grid = np.array(list(_grid(len(runs), step)))
    fold_of = np.empty(len(queries), dtype=np.int64)
    fold_of[np.random.default_rng(seed).permutation(len(queries))] = np.arange(len(queries)) % folds
    table = np.empty((len(found), len(queries), len(grid)))
    for column, query in enumerate(queries):
        hits = [run.get(query, {}) for run in runs]
        for row, method in enumerate(found.values()):
            table[row, column] = _score_query(hits, qrels[query], method, grid, measure)
    outcomes = {}
    for name, scores in zip(found, table, strict=True):
        best = _best(scores)
        outcomes[name] = TunedMethod(
            weights=tuple(grid[best].tolist()),
            tuned=float(scores[:, best].mean()),
            held_out=_held_out(scores, fold_of),
            equal=float(scores[:, 0].mean()),
        )
    # All methods side by side: (queries, weights x methods), nearest to equal weights first.
    joined = table.transpose(1, 2, 0).reshape(len(queries), -1)
    point, row = divmod(_best(joined), len(found))
    alone = [int(np.flatnonzero(grid[:, i] == 1.0)[0]) for i in range(len(runs))]
    return TunedWeights(
        method=list(found)[row],
        weights=tuple(grid[point].tolist()),
        held_out=_held_out(joined, fold_of),
        metric=str(measure),
        queries=len(queries),
        runs=tuple(float(table[0, :, i].mean()) for i in alone),
        methods=outcomes,
    )


def _find_methods(methods: Sequence[str] | Mapping[str, FusionMethod]) -> dict[str, FusionMethod]:
    if isinstance(methods, str) or not methods:
        raise ArgumentError(
            f"`methods` must be a list of names out of {', '.join(METHODS)}, or methods by name; "
            f"received: {methods!r}."
        )
    if isinstance(methods, Mapping):
        return {name: find_method(method) for name, method in methods.items()}
    return {name: find_method(name) for name in methods}


def _grid(runs: int, step: float) -> Iterator[tuple[float, ...]]:
    """Yields weights that sum to 1: equal ones first, then by their distance from these."""
    from itertools import combinations, pairwise
    from math import comb, dist

    if (
        isinstance(step, bool)
        or not isinstance(step, int | float)
        or not 1e-6 <= step <= 1
        or abs(1 / step - round(1 / step)) > 1e-6
    ):
        raise ArgumentError(
            f"`step` must be 1 divided by a whole number, such as 0.1; received: {step!r}."
        )
    steps = round(1 / step)
    count = comb(steps + runs - 1, runs - 1)
    if count > MAX_WEIGHTS:
        raise ArgumentError(
            f"`step` {step} gives {count:,} weights for {runs} runs, more than {MAX_WEIGHTS:,}; "
            "take a longer one."
        )
    equal = (1 / runs,) * runs
    points = set()
    for bars in combinations(range(steps + runs - 1), runs - 1):
        edges = (-1, *bars, steps + runs - 1)
        points.add(tuple((b - a - 1) / steps for a, b in pairwise(edges)))
    yield equal
    # Rounded, so that points of one distance do not change places by the last bit.
    yield from sorted(points - {equal}, key=lambda point: (round(dist(point, equal), 9), point))


def _score_query(
    hits: Sequence[Mapping[str, float]],
    judged: Mapping[str, int],
    method: FusionMethod,
    grid: npt.NDArray[np.float64],
    measure: Metric,
) -> list[float]:
    """Returns the metric of one query for all weights, as `fuse_runs` with each would give it."""
    import numpy as np

    # From the last id to the first, which is how trec_eval ranks equal scores.
    names = sorted({name for hit in hits for name in hit}, reverse=True)
    number = {name: i for i, name in enumerate(names)}
    values = np.zeros((len(names), len(hits)))
    found = np.zeros((len(names), len(hits)), dtype=bool)
    for column, hit in enumerate(hits):
        if not hit:
            continue
        order = ranked(hit)
        rows = [number[name] for name in order]
        scores = np.array([hit[name] for name in order], np.float32).astype(np.float64)
        if not np.isfinite(scores).all():
            raise ArgumentError(f"`runs[{column}]` must have finite scores.")
        contributions, missing = method.values(scores)
        values[:, column] = missing
        values[rows, column] = contributions
        found[rows, column] = True
    totals = (values @ grid.T).astype(np.float32)
    # A document of runs without weight alone is no hit.
    reached = found.astype(np.float64) @ (grid.T > 0) > 0
    totals[~reached] = -np.inf
    orders = np.argsort(-totals, axis=0, kind="stable")
    lengths = reached.sum(axis=0)
    depth = len(names) if measure.cutoff is None else measure.cutoff
    return [
        measure([names[i] for i in orders[: min(depth, int(lengths[point])), point]], judged)
        for point in range(len(grid))
    ]


def _best(scores: npt.NDArray[np.float64]) -> int:
    """Returns the first column whose mean is the highest, up to rounding."""
    import numpy as np

    means = scores.mean(axis=0)
    return int(np.flatnonzero(means >= means.max() - 1e-12)[0])


def _held_out(scores: npt.NDArray[np.float64], fold_of: npt.NDArray[np.int64]) -> float:
    """Returns the mean over queries of the column that was best on the other folds."""
    import numpy as np

    chosen = np.empty(len(scores))
    for fold in np.unique(fold_of):
        test = fold_of == fold
        chosen[test] = scores[test, _best(scores[~test])]
    return float(chosen.mean())
