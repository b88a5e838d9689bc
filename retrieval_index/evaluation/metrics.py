"""Measures of one ranked list, as trec_eval defines them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

# Every function takes `levels`: the judged relevance of the ranked documents, best rank first, 0 or
# less where a document is not relevant or not judged.


def ranked(scores: Mapping[str, float]) -> list[str]:
    """Returns document ids in the order in which trec_eval reads a run.

    That is: by score, highest first, and among equal scores by id, last first (in the order of
    their UTF-8 bytes). trec_eval holds scores in 32 bits, so scores that differ by less are equal.

    Args:
        scores: Score of each document; no NaN.

    Returns:
        The ids, best first.
    """
    import numpy as np

    ids = list(scores)
    with np.errstate(over="ignore"):
        narrow = np.fromiter(scores.values(), np.float64, len(ids)).astype(np.float32).tolist()
    # Code points sort as their UTF-8 bytes do.
    return [id for _, id in sorted(zip(narrow, ids, strict=True), reverse=True)]


def discounted_gain(levels: Sequence[int], *, exponential: bool = False) -> float:
    """Returns DCG: the sum of gain / log2(rank + 1).

    The gain is the level itself (Jarvelin and Kekalainen 2002, trec_eval) or, if `exponential`,
    2^level - 1 (Burges et al. 2005); 0 for levels below 1.
    """
    total = 0.0
    for rank, level in enumerate(levels, start=1):
        if level > 0:
            total += (2.0**level - 1.0 if exponential else level) / math.log2(rank + 1)
    return total


def ndcg(
    levels: Sequence[int],
    judged: Iterable[int],
    k: int | None = None,
    *,
    exponential: bool = False,
) -> float:
    """Returns DCG of the first `k` over that of the best order of all judged documents.

    Args:
        levels: Of the ranked documents.
        judged: Levels of all judged documents of the query.
        k: Ranks that count; None: all.
        exponential: As in `discounted_gain`.

    Returns:
        0 to 1; 0 if no judged document is relevant.
    """
    ideal = discounted_gain(sorted(judged, reverse=True)[:k], exponential=exponential)
    return discounted_gain(levels[:k], exponential=exponential) / ideal if ideal > 0 else 0.0


def reciprocal_rank(levels: Sequence[int], k: int | None = None, *, rel: int = 1) -> float:
    """Returns 1 / rank of the first document of level `rel` or more among the first `k`, or 0."""
    for rank, level in enumerate(levels[:k], start=1):
        if level >= rel:
            return 1.0 / rank
    return 0.0


def average_precision(
    levels: Sequence[int], judged: Iterable[int], k: int | None = None, *, rel: int = 1
) -> float:
    """Returns the mean, over all relevant documents, of the precision at their ranks.

    A relevant document that is not among the first `k` adds 0; the divisor is the number of
    relevant documents whatever `k` is (trec_eval's map and map_cut).
    """
    relevant = sum(level >= rel for level in judged)
    found, total = 0, 0.0
    for rank, level in enumerate(levels[:k], start=1):
        if level >= rel:
            found += 1
            total += found / rank
    return total / relevant if relevant else 0.0


def recall(levels: Sequence[int], judged: Iterable[int], k: int, *, rel: int = 1) -> float:
    """Returns the share of the relevant documents that are among the first `k`; 0 if none exist."""
    relevant = sum(level >= rel for level in judged)
    return sum(level >= rel for level in levels[:k]) / relevant if relevant else 0.0


def precision(levels: Sequence[int], k: int, *, rel: int = 1) -> float:
    """Returns relevant documents among the first `k`, divided by `k` also if fewer came back."""
    return sum(level >= rel for level in levels[:k]) / k


def success(levels: Sequence[int], k: int, *, rel: int = 1) -> float:
    """Returns 1 if a relevant document is among the first `k`, else 0."""
    return float(any(level >= rel for level in levels[:k]))
