"""Scores of ranked candidates, by the measures of `retrieval_index.evaluation`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from retrieval_index.evaluation.metrics import parse_metrics


def ranking_scores(
    relevances: Sequence[npt.ArrayLike],
    scores: Sequence[npt.ArrayLike],
    metrics: str | Sequence[str] = ("nDCG@10", "MRR@10", "MAP", "Recall@10"),
) -> dict[str, float]:
    """Means over queries of measures of the candidates' order by score, highest first.

    Among equal scores the less relevant stands first: each value is the lowest over all orders that
    the scores allow, so it depends neither on how candidates are listed nor gains from saying
    nothing (a model that scores all alike does not get what the order of the file gives).

    Args:
        relevances: For each query int or bool (n,), one for each candidate; candidates of 1 and
            more are relevant, and their level is the gain of nDCG. All candidates count as judged.
        scores: For each query float (n,).
        metrics: Names as `retrieval_index.evaluation.parse_metric` knows them.

    Returns:
        By name as canonical there, such as `nDCG@10`, `RR@10`, `AP` and `R@10`, from 0 to 1. A
        query without a relevant candidate counts as 0, as in trec_eval.

    Raises:
        ValueError: Queries or candidates of different number, none, or scores that are no numbers;
            the query is named.
        ArgumentError: An unknown metric.
    """
    wanted = parse_metrics(metrics)
    if len(relevances) != len(scores) or not len(scores):
        raise ValueError(
            "`relevances` and `scores` must have as many queries, at least one. "
            f"Received: {len(relevances)} and {len(scores)}"
        )
    values = []
    for query, (given, row) in enumerate(zip(relevances, scores, strict=True)):
        levels, score = np.asarray(given), np.asarray(row, np.float64)
        if levels.ndim != 1 or levels.shape != score.shape or not len(score):
            raise ValueError(
                f"query {query}: `relevances` and `scores` must be 1-D and equally long. "
                f"Received: {levels.shape} and {score.shape}"
            )
        if levels.dtype.kind not in "iub" or np.isnan(score).any():
            raise ValueError(
                f"query {query}: `relevances` must be whole numbers and `scores` no NaN. Received: "
                f"{levels.dtype} and {int(np.isnan(score).sum())} NaN"
            )
        order = np.lexsort((levels, -score))
        judged = {str(rank): int(level) for rank, level in enumerate(levels[order])}
        values.append([metric(list(judged), judged) for metric in wanted])
    means = np.mean(values, axis=0).tolist()
    return {str(metric): mean for metric, mean in zip(wanted, means, strict=True)}
