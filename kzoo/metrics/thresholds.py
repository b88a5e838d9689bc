"""The thresholds of several labels that are best on given rows, exactly."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float64]


def best_thresholds(
    y_true: npt.ArrayLike,
    scores: npt.ArrayLike,
    average: Literal["macro", "micro"] = "macro",
    sample_weight: npt.ArrayLike | None = None,
    neutral: float = 0.0,
) -> npt.NDArray[np.float32]:
    """One threshold a class, such that ``scores >= threshold`` has the largest F1 on the rows.

    The optimum is that over all combinations of cuts between different scores. Of cuts that are
    equally good the one with the fewest predictions is taken; the threshold lies in the middle of
    its gap between two scores, beyond the outermost scores as near to `neutral` as can be. For
    ``macro`` every class is a problem of its own; for ``micro`` the classes share
    ``2 sum TP / sum (P + T)``, a ratio that Dinkelbach's iteration (1967) maximises in a few steps.

    Args:
        y_true: int (n, classes): 1, 0, or below 0 where the label is not known.
        scores: float (n, classes), compared as float32.
        average: What is maximised. Default: F1 of each class.
        sample_weight: float (n,). Default: 1 each.
        neutral: Threshold of a class without a known positive row, where F1 says nothing; default
            0, the logit of one half.

    Returns:
        float32 (classes,).

    Raises:
        ValueError: Another average, shapes that differ, or scores that are not finite.
    """
    true, found = np.asarray(y_true), np.asarray(scores, "float32")
    if average not in ("macro", "micro"):
        raise ValueError(f"`average` must be 'macro' or 'micro', received {average!r}")
    if true.ndim != 2 or true.shape != found.shape:
        raise ValueError(
            f"`y_true` and `scores` must have one shape (n, classes), received {true.shape} and "
            f"{found.shape}"
        )
    if not np.isfinite(found).all():
        raise ValueError("`scores` must be finite")
    weights = np.ones(len(true)) if sample_weight is None else np.asarray(sample_weight, "float64")
    if weights.shape != true.shape[:1]:
        raise ValueError(
            f"`sample_weight` must have {len(true)} rows, received shape {weights.shape}"
        )
    classes = [
        _Cuts(true[known, c] > 0, found[known, c], weights[known], neutral)
        for c, known in enumerate((true >= 0).T)
    ]
    positive = sum(cuts.positive for cuts in classes)
    if average == "macro":
        chosen = [cuts.best_f1() for cuts in classes]
    else:
        share, chosen = -1.0, [0] * len(classes)
        while positive:
            # F1 = 2 TP / (P + T) is at least r exactly where 2 TP - r P is at least r T.
            trial = [int(np.argmax(2 * cuts.hits - max(share, 0) * cuts.taken)) for cuts in classes]
            hits = sum(cuts.hits[i] for cuts, i in zip(classes, trial, strict=True))
            taken = sum(cuts.taken[i] for cuts, i in zip(classes, trial, strict=True))
            if 2 * hits / (taken + positive) <= share:
                break
            share, chosen = 2 * hits / (taken + positive), trial
        else:
            chosen = [cuts.best_f1() for cuts in classes]  # the neutral ones
    return np.asarray([cuts.threshold(i) for cuts, i in zip(classes, chosen, strict=True)], "f4")


class _Cuts:
    """All cuts of one class, from none of its rows taken to all: `hits` and `taken` of each."""

    def __init__(
        self,
        true: npt.NDArray[np.bool_],
        scores: npt.NDArray[np.float32],
        w: _Floats,
        neutral: float,
    ) -> None:
        self.neutral = np.float32(neutral)
        order = np.argsort(-scores, kind="stable")
        self.scores, true, w = scores[order], true[order], w[order]
        # A cut may not part equal scores.
        ends = np.flatnonzero(np.diff(self.scores, append=np.nan) != 0) + 1
        self.ends = np.concatenate([[0], ends]).astype("int64")
        self.hits: _Floats = np.concatenate([[0.0], np.cumsum(w * true)])[self.ends]
        self.taken: _Floats = np.concatenate([[0.0], np.cumsum(w)])[self.ends]
        self.positive = float(self.hits[-1])

    def best_f1(self) -> int:
        """The cut with the largest F1; -1 without a positive row."""
        if not self.positive:
            return -1
        return int(np.argmax(2 * self.hits / (self.taken + self.positive)))

    def threshold(self, cut: int) -> np.float32:
        """A number above the scores that are left out, and not above those that are taken."""
        if cut < 0 or not len(self.scores):
            return self.neutral
        end = self.ends[cut]
        above = self.scores[end - 1] if end else np.float32(np.inf)
        below = self.scores[end] if end < len(self.scores) else np.float32(-np.inf)
        lowest = np.nextafter(below, np.float32(np.inf))
        if np.isinf(above) or np.isinf(below):
            return min(max(self.neutral, lowest), above)
        # In float32 the middle of two neighbours is one of them.
        return min(max(np.float32((float(above) + float(below)) / 2), lowest), above)
