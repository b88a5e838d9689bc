"""Scores of pairs: whether the right ones are told from the wrong ones, and found among others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_CHUNK = 1024  # anchors whose scores are held at once


def pair_scores(labels: npt.ArrayLike, similarities: npt.ArrayLike) -> dict[str, float]:
    """How well a threshold on similarities tells pairs that belong together from others.

    A pair counts as one that does where its similarity is at least the threshold; each score has
    the threshold that is best for it. As sentence-transformers' BinaryClassificationEvaluator.

    Args:
        labels: int or bool (n,), 1 for pairs that belong together, 0 for others; some of both.
        similarities: float (n,), such as cosines.

    Returns:
        `accuracy` and `accuracy_threshold`; `f1`, `precision`, `recall` and `f1_threshold`; `ap`,
        the average precision, sum of (R_i - R_{i-1}) P_i over the thresholds. From 0 to 1. Where
        several thresholds are best, the highest one counts.

    Raises:
        ValueError: Columns of different lengths, labels other than 0 and 1 or of one kind only,
            or similarities that are no numbers.
    """
    true, score = np.asarray(labels), np.asarray(similarities, np.float64)
    if true.ndim != 1 or true.shape != score.shape:
        raise ValueError(
            "`labels` and `similarities` must be 1-D and equally long, received "
            f"{true.shape} and {score.shape}"
        )
    if not np.isfinite(score).all():
        raise ValueError("`similarities` must be finite")
    if set(np.unique(true).tolist()) != {0, 1}:
        raise ValueError("`labels` must be 0 and 1, and some of both")
    order = np.argsort(-score, kind="stable")
    score, hits = score[order], np.cumsum(true[order].astype(np.int64))
    # A threshold stands between two different similarities, or below all; the last row of equal
    # ones has their counts.
    last = np.flatnonzero(np.append(np.diff(score) != 0, True))
    below = np.append(score, score[-1])[last + 1]
    between = (score[last] + below) / 2
    thresholds = np.where(between > below, between, score[last])
    above, found, all_true = last + 1, hits[last], int(hits[-1])
    precision, recall = found / above, found / all_true
    f1 = 2 * found / (above + all_true)
    right = (found + (len(true) - all_true) - (above - found)) / len(true)
    # Above all of them, no pair counts.
    right = np.insert(right, 0, (len(true) - all_true) / len(true))
    best, best_f1 = int(np.argmax(right)), int(np.argmax(f1))
    return {
        "accuracy": float(right[best]),
        "accuracy_threshold": float(np.insert(thresholds, 0, np.nextafter(score[0], np.inf))[best]),
        "f1": float(f1[best_f1]),
        "precision": float(precision[best_f1]),
        "recall": float(recall[best_f1]),
        "f1_threshold": float(thresholds[best_f1]),
        "ap": float(np.sum(np.diff(recall, prepend=0) * precision)),
    }


def reciprocal_rank(vectors: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """1 / rank of each row's positive among the positives and negatives of all rows, by cosine.

    Equal cosines share the mean of their ranks, so that vectors that are all alike gain nothing.

    Args:
        vectors: float (n, texts, width): anchor, positive, and perhaps negatives, of each row.

    Returns:
        float64 (n,).

    Raises:
        ValueError: Another shape.
    """
    given = np.asarray(vectors, np.float32)
    if given.ndim != 3 or given.shape[1] < 2 or not len(given):
        raise ValueError(
            f"`vectors` must have shape (rows, 2 or more, width), received {given.shape}"
        )
    unit = given / np.maximum(np.linalg.norm(given, axis=-1, keepdims=True), 1e-12)
    candidates = unit[:, 1:].reshape(-1, unit.shape[-1]).T
    own = np.arange(len(unit)) * (unit.shape[1] - 1)
    ranks = np.empty(len(unit))
    for start in range(0, len(unit), _CHUNK):
        rows = slice(start, start + _CHUNK)
        scores = unit[rows, 0] @ candidates
        mine = np.take_along_axis(scores, own[rows, None], axis=1)
        ranks[rows] = 0.5 + (scores > mine).sum(axis=1) + (scores == mine).sum(axis=1) / 2
    return 1 / ranks
