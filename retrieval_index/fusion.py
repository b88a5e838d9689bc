"""Rank fusion: one ranking out of several, as the weighted sum of what each makes of a document."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from retrieval_index.errors import ArgumentError, check_positive
from retrieval_index.evaluation.metrics import ranked

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class FusionMethod(Protocol):
    """Turns the scores of one ranking into values that can be added to those of another."""

    def values(self, scores: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], float]:
        """Returns what each hit is worth, and what a document is worth that is no hit.

        Args:
            scores: Scores of the hits of one ranking, best first, of shape (hits,), hits >= 1.

        Returns:
            Values of shape (hits,), and the value of a missing document, which is at most the
            least of them.
        """
        ...


@dataclass(frozen=True, slots=True)
class ReciprocalRank:
    """A hit of rank r (from 1) is worth 1 / (k + r), a missing document 0; scores do not matter.

    Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual
    Rank Learning Methods" (SIGIR 2009), there without weights and with k = 60.

    Args:
        k: The larger, the less the first ranks stand out; at least 1. Default 60.
    """

    k: int = 60

    def __post_init__(self) -> None:
        check_positive("k", self.k)

    def values(self, scores: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], float]:
        """Returns 1 / (k + rank) and 0, see `FusionMethod`."""
        import numpy as np

        return 1.0 / (self.k + np.arange(1, len(scores) + 1, dtype=np.float64)), 0.0


@dataclass(frozen=True, slots=True)
class MinMax:
    """A hit is worth (score - lowest) / (highest - lowest), a missing document 0.

    Lee, "Analyses of multiple evidence combination" (SIGIR 1997). The lowest hit is worth as
    little as a missing document, so depth matters: fuse rankings of about 100 hits for a page of
    10. Where all scores are equal (a single hit, say), each hit is worth 1.
    """

    def values(self, scores: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], float]:
        """Returns values in [0, 1] and 0, see `FusionMethod`."""
        import numpy as np

        # Halves, as the difference of two of the largest floats overflows.
        lowest = scores.min() / 2
        width = scores.max() / 2 - lowest
        if width == 0:
            return np.ones_like(scores), 0.0
        return (scores / 2 - lowest) / width, 0.0


@dataclass(frozen=True, slots=True)
class ZScore:
    """A hit is worth (score - mean) / standard deviation, a missing document the lowest of these.

    Mean and (population) deviation are those of the ranking's own hits. A missing document cannot
    get the mean, 0, as it would pass half of the hits; Montague and Aslam, "Relevance score
    normalization for metasearch" (CIKM 2001), move all values up by 2 for that reason. Where all
    scores are equal (a single hit, say), each hit is worth 0 and a missing document -1.
    """

    def values(self, scores: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], float]:
        """Returns standard scores and their lowest, see `FusionMethod`."""
        import numpy as np

        scale = float(np.abs(scores).max())
        centred = scores / scale if scale > 0 else np.zeros_like(scores)
        centred = centred - centred.mean()
        deviation = float(centred.std())
        if scores.min() == scores.max() or deviation == 0:
            return np.zeros_like(scores), -1.0
        values = centred / deviation
        return values, float(values.min())


METHODS: dict[str, type[Any]] = {"rrf": ReciprocalRank, "min-max": MinMax, "z-score": ZScore}


def find_method(method: str | FusionMethod) -> FusionMethod:
    """Returns a fusion method, found by name (with its defaults) where a name is given.

    Raises:
        ArgumentError: If the name is unknown, or the object has no `values`.
    """
    if isinstance(method, str):
        if method not in METHODS:
            raise ArgumentError(f"`method` must be one of {', '.join(METHODS)}; got: {method!r}.")
        found: FusionMethod = METHODS[method]()
        return found
    if isinstance(method, type) or not callable(getattr(method, "values", None)):
        raise ArgumentError(
            f"`method` must be one of {', '.join(METHODS)} or an object with a method `values`; "
            f"received: {method!r}."
        )
    return method


Run = Mapping[str, Mapping[str, float]]


def fuse(
    rankings: Sequence[tuple[npt.NDArray[np.integer[Any]], npt.NDArray[np.floating[Any]]]],
    method: str | FusionMethod = "rrf",
    weights: Sequence[float] | None = None,
    k: int | None = None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Fuses the rankings of one query: a document's score is the weighted sum of its values.

    Args:
        rankings: For each retriever ids, int of shape (hits,), each once, and scores, float of the
            same shape, best first.
        method: "rrf" (reciprocal ranks), "min-max", "z-score", or a `FusionMethod`, such as
            `ReciprocalRank(k=20)`. Default "rrf".
        weights: One for each ranking, >= 0, not all 0; only their ratios matter to the order. A
            ranking of weight 0 is as good as absent. Default: all 1.
        k: Hits wanted; None: all. Default None.

    Returns:
        Ids, int64 of shape (n,), and fused scores, float64 of shape (n,), best first; equal scores
        by id, lowest first.

    Raises:
        ArgumentError: If an argument is not as described.
    """
    import numpy as np

    method = find_method(method)
    weights = check_weights(weights, len(rankings))
    kept = []
    for place, ((ids, scores), weight) in enumerate(zip(rankings, weights, strict=True)):
        checked = _checked_ranking(place, ids, scores)
        if weight > 0 and len(checked[0]):
            kept.append((*checked, weight))
    if not kept:
        return np.empty(0, np.int64), np.empty(0, np.float64)
    documents, where = np.unique(np.concatenate([ids for ids, _, _ in kept]), return_inverse=True)
    totals = np.zeros(len(documents))
    start = 0
    for ids, scores, weight in kept:
        values, missing = method.values(scores)
        column = np.full(len(documents), float(missing))
        column[where[start : start + len(ids)]] = values
        totals += weight * column
        start += len(ids)
    # Ids are ascending, and a stable sort leaves them so among equals.
    order = np.argsort(-totals, kind="stable")[: None if k is None else check_positive("k", k)]
    return documents[order].astype(np.int64), totals[order]


def fuse_runs(
    runs: Sequence[Run],
    method: str | FusionMethod = "rrf",
    weights: Sequence[float] | None = None,
    k: int | None = None,
) -> dict[str, dict[str, float]]:
    """Fuses whole runs, query by query; a query that a run lacks has no hits there.

    Args:
        runs: For each retriever scores by query id and document id; ranked as trec_eval ranks.
        method: As in `fuse`.
        weights: As in `fuse`.
        k: As in `fuse`, but equal scores are in trec_eval's order: by id, last first.

    Returns:
        Fused scores by query id and document id, best first.

    Raises:
        ArgumentError: As in `fuse`.
    """
    import numpy as np

    weights = check_weights(weights, len(runs))
    fused = {}
    for query in dict.fromkeys(query for run in runs for query in run):
        hits = [run.get(query, {}) for run in runs]
        # Numbered from the last id to the first, so that `fuse` breaks ties as trec_eval does.
        names = sorted({name for hit in hits for name in hit}, reverse=True)
        number = {name: i for i, name in enumerate(names)}
        rankings = []
        for hit in hits:
            order = ranked(hit)
            with np.errstate(
                over="ignore"
            ):  # 32 bits, in which trec_eval ranks; `fuse` refuses inf
                scores32 = np.array([hit[name] for name in order], np.float64).astype(np.float32)
            rankings.append((np.array([number[name] for name in order], np.int64), scores32))
        ids, scores = fuse(rankings, method, weights, k)
        fused[query] = {names[i]: s for i, s in zip(ids.tolist(), scores.tolist(), strict=True)}
    return fused


def check_weights(weights: Sequence[float] | None, count: int) -> list[float]:
    """Returns one weight for each of `count` rankings, or raises `ArgumentError`."""
    if count == 0:
        raise ArgumentError("`rankings` must hold at least one ranking; received: none.")
    if weights is None:
        return [1.0] * count
    checked = [float(weight) for weight in weights]
    if len(checked) != count:
        raise ArgumentError(
            f"`weights` must be {count} numbers, one for each ranking; received: {checked}."
        )
    if not all(math.isfinite(weight) and weight >= 0 for weight in checked) or not any(checked):
        raise ArgumentError(f"`weights` must be >= 0 and not all 0; received: {checked}.")
    return checked


def _checked_ranking(
    place: int, ids: Any, scores: Any
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    import numpy as np

    ids, scores = np.asarray(ids), np.asarray(scores, dtype=np.float64)
    if ids.ndim != 1 or ids.shape != scores.shape:
        raise ArgumentError(
            f"`rankings[{place}]` must be ids and scores of one shape (hits,); received: "
            f"{ids.shape} and {scores.shape}."
        )
    if len(ids) and ids.dtype.kind not in "iu":
        raise ArgumentError(f"`rankings[{place}]` must have integer ids; received: {ids.dtype}.")
    if not np.isfinite(scores).all() or np.any(scores[1:] > scores[:-1]):
        raise ArgumentError(f"`rankings[{place}]` must have finite scores, best first.")
    ids = ids.astype(np.int64)
    if len(np.unique(ids)) != len(ids):
        raise ArgumentError(f"`rankings[{place}]` must name each id once.")
    return ids, scores
