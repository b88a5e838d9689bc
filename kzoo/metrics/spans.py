"""Scores of extracted answers: SQuAD 1.1 and 2.0 as their scripts have them, and CMRC 2018."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

import numpy as np
import numpy.typing as npt

STYLES = ("squad", "cmrc2018")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
# CMRC's list holds an ellipsis of two characters, which no single character equals: it stays.
_CMRC_PUNCTUATION = str.maketrans("", "", "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_HAN = "\u4e00-\u9fa5"
_CMRC_TOKEN = re.compile(rf"[{_HAN}]|[^\W{_HAN}]+(?:[.,'][^\W{_HAN}]+)*|[^\w\s]")


def normalize_answer(text: str, style: str = "squad") -> str:
    """What is compared for an exact match.

    Args:
        text: An answer.
        style: `squad`: in lower case, without ASCII punctuation and English articles, white space
            as single spaces (Rajpurkar et al. 2016). `cmrc2018`: in lower case, without the
            punctuation that CMRC's script lists (Cui et al. 2019).

    Raises:
        ValueError: An unknown style.
    """
    _check(style, STYLES, "style")
    text = text.lower()
    if style == "cmrc2018":
        return text.strip().translate(_CMRC_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text.translate(_PUNCTUATION)).split())


def answer_f1(predicted: str, true: str, style: str = "squad") -> float:
    """F1 over what two answers share: `2 * shared / (number in one + number in the other)`.

    Args:
        predicted: An answer.
        true: Another.
        style: `squad`: shared are words, in any order. `cmrc2018`: the longest common stretch of
            Chinese characters and other words; CMRC's script takes the other words from NLTK, here
            they are runs of letters and digits, joined by `.`, `,` or `'`, and single signs.

    Returns:
        0 to 1; if one of them has no word left, 1 if neither has, else 0.
    """
    left, right = normalize_answer(predicted, style), normalize_answer(true, style)
    if style == "squad":
        one, other = left.split(), right.split()
        shared = (Counter(one) & Counter(other)).total()
    else:
        one, other = _CMRC_TOKEN.findall(left), _CMRC_TOKEN.findall(right)
        shared = SequenceMatcher(None, one, other, autojunk=False).find_longest_match().size
    if not one or not other:
        return float(one == other)
    return 2 * shared / (len(one) + len(other))


def answer_scores(
    predicted: Sequence[str],
    true: Sequence[Sequence[str] | Mapping[str, Sequence[str]]],
    no_answer: npt.ArrayLike | None = None,
    threshold: float | None = None,
    style: str = "squad",
    version: str = "2.0",
) -> dict[str, float]:
    """Exact match and F1, each the best over a question's answers, means over the questions.

    Names are those of SQuAD's `evaluate-v2.0`; it multiplies by 100.

    Args:
        predicted: An answer for each question; an empty one means that there is none.
        true: The answers of each question, a list or the dict with `text` that HF's data have;
            none for a question that has none. Answers that normalise to nothing are passed over,
            as in 2.0's script.
        no_answer: n numbers, higher where a question rather has no answer: a probability, or a
            difference of logits. With it the result has the best thresholds.
        threshold: Questions with `no_answer` above it are scored as if they were answered by none.
        style: `squad`, or `cmrc2018` for Chinese; see `answer_f1`.
        version: `2.0`, or `1.1`: every question has an answer, none is passed over, and the F1 of
            an answer without words is 0.

    Returns:
        `exact`, `f1`, `total`; the same with `HasAns_` and `NoAns_` before it over the questions
        with and without an answer, where there are any; with `no_answer` also `best_exact`,
        `best_exact_thresh`, `best_f1` and `best_f1_thresh`: the best mean that any threshold
        reaches, and the lowest value of `no_answer` that reaches it. Where that is to answer
        nothing, it is 0, or just below the lowest value if that is not above 0. Shares are 0 to 1.
        (2.0's script also stops between rows of equal `no_answer`, where no threshold can, and
        there counts "the" for a question without an answer as wrong, which it scores as right.)

    Raises:
        ValueError: Columns of different lengths, no rows, a question without an answer in 1.1,
            numbers that are not finite, or `threshold` without `no_answer`.
    """
    _check(style, STYLES, "style")
    _check(version, ("1.1", "2.0"), "version")
    if len(predicted) != len(true) or not len(true):
        raise ValueError(
            "`predicted` and `true` must be equally long and not empty. "
            f"Received: {len(predicted)} and {len(true)}"
        )
    golden = [list(row["text"] if isinstance(row, Mapping) else row) for row in true]
    for number, row in enumerate(true):
        if isinstance(row, str):
            raise ValueError(f"`true` row {number} must be a list of answers. Received: {row!r}")
        if version == "1.1" and not golden[number]:
            raise ValueError(f"`true` row {number} has no answer, as `version` '1.1' needs one.")
    rows = [
        _best_answer(text, answers, style, version)
        for text, answers in zip(predicted, golden, strict=True)
    ]
    scores = dict(zip(("exact", "f1"), np.asarray(rows, np.float64).T, strict=True))
    has = np.asarray([len(answers) > 0 for answers in golden])
    best: dict[str, float] = {}
    if no_answer is not None:
        doubt = np.asarray(no_answer, np.float64)
        if doubt.shape != has.shape or not np.isfinite(doubt).all():
            raise ValueError(
                f"`no_answer` must be {len(has)} finite numbers. Received: shape {doubt.shape} "
                f"with {int((~np.isfinite(doubt)).sum())} others"
            )
        for name, values in scores.items():
            best[f"best_{name}"], best[f"best_{name}_thresh"] = _best_threshold(values, has, doubt)
    if threshold is not None:
        if no_answer is None:
            raise ValueError("`threshold` is for `no_answer`; give both.")
        scores = {name: np.where(doubt > threshold, ~has, s) for name, s in scores.items()}
    found: dict[str, float] = {}
    for prefix, part in (("", np.ones_like(has)), ("HasAns_", has), ("NoAns_", ~has)):
        if part.any():
            found |= {prefix + name: float(values[part].mean()) for name, values in scores.items()}
            found[f"{prefix}total"] = int(part.sum())
    return found | best


def _best_answer(
    predicted: str, answers: Sequence[str], style: str, version: str
) -> tuple[float, float]:
    """The highest exact match and the highest F1 over a question's answers."""
    if version == "2.0":
        answers = [text for text in answers if normalize_answer(text, style)] or [""]
    words = normalize_answer(predicted, style)
    exact = float(any(words == normalize_answer(text, style) for text in answers))
    if version == "1.1" and not words:
        return exact, 0.0
    return exact, max(answer_f1(predicted, text, style) for text in answers)


def _best_threshold(
    scores: npt.NDArray[np.float64], has: npt.NDArray[np.bool_], doubt: npt.NDArray[np.float64]
) -> tuple[float, float]:
    """The highest mean over all thresholds, and the lowest threshold that reaches it."""
    order = np.argsort(doubt, kind="stable")
    # Answering one question more changes the sum by its score, less the 1 that silence had got.
    gains = (scores - ~has)[order]
    sums = np.cumsum([np.float64((~has).sum()), *gains])
    ordered = doubt[order]
    nothing = min(0.0, float(np.nextafter(ordered[0], -np.inf)))
    thresholds = np.asarray([nothing, *ordered])
    reached = np.append(thresholds[1:] != thresholds[:-1], True)  # equal doubts are one step
    place = int(np.argmax(np.where(reached, sums, -np.inf)))
    return float(sums[place]) / len(has), float(thresholds[place])


def _check(value: str, known: Sequence[str], name: str) -> None:
    if value not in known:
        raise ValueError(f"`{name}` must be {' or '.join(known)}. Received: {value!r}")
