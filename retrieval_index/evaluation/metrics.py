"""Measures of one ranked list, as trec_eval defines them, and their names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from retrieval_index.errors import ArgumentError
from retrieval_index.evaluation import metrics

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


DEFAULT_METRICS = ("nDCG@10", "RR@10", "R@100", "AP", "Success@5")
EXPONENTIAL = "exp-log2"  # the name that ir_measures gives to the gain 2^level - 1

# Spelling in lower case -> canonical name.
_FAMILIES = {
    "ndcg": "nDCG",
    "rr": "RR",
    "mrr": "RR",
    "ap": "AP",
    "map": "AP",
    "r": "R",
    "recall": "R",
    "p": "P",
    "precision": "P",
    "success": "Success",
}
_TREC_EVAL = {
    "ndcg": "nDCG",
    "ndcg_cut": "nDCG",
    "recip_rank": "RR",
    "map": "AP",
    "map_cut": "AP",
    "recall": "R",
    "p": "P",
    "success": "Success",
}
_CUTOFF_NEEDED = frozenset({"R", "P", "Success"})
_FORM = re.compile(r"(?P<family>[A-Za-z]+)(\((?P<options>[^()]*)\))?(@(?P<cutoff>[0-9]{1,9}))?")
_TREC_FORM = re.compile(r"(?P<family>[A-Za-z_]+?)(_(?P<cutoff>[0-9]{1,9}))?")


@dataclass(frozen=True, slots=True)
class Metric:
    """A measure of one ranked list; `str()` is its name in the spelling of ir_measures.

    Attributes:
        family: "nDCG", "RR", "AP", "R", "P" or "Success".
        cutoff: Ranks that count; None: all.
        rel: Lowest level of a relevant document (not for nDCG, which has levels).
        exponential: Whether the gain of nDCG is 2^level - 1 rather than the level.
    """

    family: str
    cutoff: int | None = None
    rel: int = 1
    exponential: bool = False

    def __str__(self) -> str:
        options = f"(rel={self.rel})" if self.rel != 1 else ""
        if self.exponential:
            options = f"(dcg='{EXPONENTIAL}')"
        return f"{self.family}{options}" + ("" if self.cutoff is None else f"@{self.cutoff}")

    def __call__(self, ranking: list[str], judged: Mapping[str, int]) -> float:
        """Returns the value for one query.

        Args:
            ranking: Document ids, best first.
            judged: Level of each judged document.
        """
        levels = [judged.get(document, 0) for document in ranking]
        every = judged.values()
        if self.family == "nDCG":
            return metrics.ndcg(levels, every, self.cutoff, exponential=self.exponential)
        if self.family == "RR":
            return metrics.reciprocal_rank(levels, self.cutoff, rel=self.rel)
        if self.family == "AP":
            return metrics.average_precision(levels, every, self.cutoff, rel=self.rel)
        assert self.cutoff is not None
        if self.family == "R":
            return metrics.recall(levels, every, self.cutoff, rel=self.rel)
        if self.family == "P":
            return metrics.precision(levels, self.cutoff, rel=self.rel)
        return metrics.success(levels, self.cutoff, rel=self.rel)


def parse_metric(name: str) -> Metric:
    """Returns the metric of a name.

    Known are the names of ir_measures, `nDCG@10`, `RR`, `RR@10` (also `MRR@10`), `AP`, `AP@100`
    (also `MAP`), `R@100` (also `Recall@100`), `P@10`, `Success@5`, with the options
    `AP(rel=2)@100` (lowest relevant level) and `nDCG(dcg='exp-log2')@10` (gain 2^level - 1); and
    those of trec_eval: `ndcg_cut_10`, `recip_rank`, `map`, `map_cut_100`, `recall_100`, `P_10`,
    `success_5`. Case does not matter.

    Raises:
        ArgumentError: If it is none of them.
    """
    if not isinstance(name, str):
        raise ArgumentError(f"`metrics` must be names such as 'nDCG@10'; received: {name!r}.")
    text = name.replace(" ", "")
    family, cutoff, options = None, None, None
    if match := _FORM.fullmatch(text):
        family = _FAMILIES.get(match["family"].lower())
        cutoff, options = match["cutoff"], match["options"]
    if family is None and (match := _TREC_FORM.fullmatch(text)):
        family = _TREC_EVAL.get(match["family"].lower())
        cutoff, options = match["cutoff"], None
    if family is None:
        raise ArgumentError(f"`metrics` has the unknown name {name!r}.{_nearest(text)}")
    number = None if cutoff is None else int(cutoff)
    if number == 0:
        raise ArgumentError(f"`metrics` must have cutoffs of at least 1; received: {name!r}.")
    if number is None and family in _CUTOFF_NEEDED:
        raise ArgumentError(
            f"`metrics`: {family} needs a cutoff, such as '{family}@10'; received: {name!r}."
        )
    rel, exponential = _options(family, options, name)
    return Metric(family, number, rel, exponential)


def parse_metrics(names: str | Iterable[str]) -> list[Metric]:
    """Returns the metrics of one name or several; one that is named twice comes once.

    Raises:
        ArgumentError: If a name is unknown, or there is none.
    """
    found = [parse_metric(name) for name in ([names] if isinstance(names, str) else names)]
    if not found:
        raise ArgumentError("`metrics` must name at least one metric, such as 'nDCG@10'.")
    return list(dict.fromkeys(found))


def _options(family: str, options: str | None, name: str) -> tuple[int, bool]:
    if not options:
        return 1, False
    key, _, value = options.partition("=")
    value = value.strip("'\"")
    if family != "nDCG" and key == "rel" and value.isdecimal() and int(value) >= 1:
        return int(value), False
    if family == "nDCG" and key == "dcg" and value in ("log2", EXPONENTIAL):
        return 1, value == EXPONENTIAL
    known = f"dcg='log2' or dcg='{EXPONENTIAL}'" if family == "nDCG" else "rel=N, N at least 1"
    raise ArgumentError(f"`metrics`: {family} takes the option {known}; received: {name!r}.")


def _nearest(text: str) -> str:
    known = ["nDCG@10", "RR@10", "AP", "R@100", "P@10", "Success@5"]
    lower = {spelling.lower(): spelling for spelling in known}
    close = get_close_matches(text.lower(), lower, n=1)
    hint = f" Did you mean {lower[close[0]]!r}?" if close else ""
    return f"{hint} Known: {', '.join(known)} with any cutoff; RR, AP and nDCG also without."
