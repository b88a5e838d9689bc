"""Entities of tagged words, and precision, recall and F1 over entities.

A tag is `O`, or a letter and a type, such as `B-PER`. Two neighbouring words belong together if the
first has B or I, the second I or E, and both the same type: every run of such words, and every
other word with a tag that is not `O`, may be an entity. What the schemes and modes accept of these:

| scheme | letters | `strict` | `lenient` |
|---|---|---|---|
| `bio` (IOB2) | B I | runs that begin with B | all |
| `iobes` (BILOU, with L for E and U for S) | B I E S | S alone, and B ... E | all |
| `plain` | none, the tag is the type | neighbours of one type are one entity | |

`strict` is seqeval's `mode="strict"` with the scheme named. `lenient` is conlleval's rule and
seqeval's default, where an I without a B begins an entity. On well-formed tags they are the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

Entity = tuple[str, int, int]
SCHEMES = ("bio", "iobes", "plain")
_LETTERS = {
    "bio": {"B": "B", "I": "I"},
    "iobes": {"B": "B", "I": "I", "E": "E", "S": "S", "L": "E", "U": "S"},
}
OPENING, FOLLOWING = frozenset("BI"), frozenset("IE")  # letters that go on, and that go on from one


class Score(NamedTuple):
    """Precision, recall and F1 from 0 to 1, 0 where there is nothing to divide by; and counts."""

    precision: float
    recall: float
    f1: float
    correct: int
    predicted: int
    true: int


class EntityScores(NamedTuple):
    """Scores of a data set.

    Attributes:
        micro: Of all entities together: conlleval's overall figures.
        macro: The unweighted means of the types' precision, recall and F1; counts are sums.
        types: By type: those that occur in `true` or in `predicted`.
    """

    micro: Score
    macro: Score
    types: dict[str, Score]


@lru_cache(maxsize=65536)
def parse_tag(tag: str, scheme: str = "bio") -> tuple[str, str]:
    """The letter and the type of a tag.

    Args:
        tag: `O`, a letter with a type after the first hyphen, or a letter alone, whose type is `_`.
        scheme: `bio`, `iobes` or `plain`.

    Returns:
        The letter, B, I, E, S or O (empty in `plain`), and the type (empty for `O`).

    Raises:
        ValueError: The scheme has no such tag, or there is no such scheme.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"`scheme` must be one of {', '.join(SCHEMES)}. Received: {scheme!r}")
    if not isinstance(tag, str):
        raise ValueError(f"a tag is a string. Received: {tag!r}")
    if tag == "O":
        return "O", ""
    if scheme == "plain":
        return "", tag
    letter, hyphen, kind = tag.partition("-")
    if letter not in _LETTERS[scheme] or bool(hyphen) != bool(kind):
        letters = ", ".join(f"{letter}-TYPE" for letter in _LETTERS[scheme])
        raise ValueError(f"a tag of the scheme {scheme} is O, {letters}. Received: {tag!r}")
    return _LETTERS[scheme][letter], kind or "_"


def entities(tags: Sequence[str], scheme: str = "bio", mode: str = "strict") -> list[Entity]:
    """The entities of one sentence.

    Args:
        tags: One a word.
        scheme: `bio`, `iobes` or `plain`; see the module.
        mode: `strict` or `lenient`; see the module.

    Returns:
        (type, first word, last word + 1), in the order of the words.

    Raises:
        ValueError: A tag that the scheme does not have; an unknown scheme or mode.
    """
    _check_mode(scheme, mode)
    found: list[Entity] = []
    parsed = [*(parse_tag(tag, scheme) for tag in tags), ("O", "")]
    first = 0
    for place in range(1, len(parsed)):
        (began, kind), last = parsed[first], parsed[place - 1]
        if goes_on(last, parsed[place]):
            continue
        whole = began in ("B", "S", "") and (scheme != "iobes" or last[0] in ("E", "S"))
        if began != "O" and (whole or mode == "lenient"):
            found.append((kind, first, place))
        first = place
    return found


def goes_on(before: tuple[str, str], here: tuple[str, str]) -> bool:
    """Whether two neighbouring words, as `parse_tag` gives them, belong to one entity."""
    letters = (before[0] in OPENING and here[0] in FOLLOWING) or (before[0] == here[0] == "")
    return letters and before[1] == here[1]


def entity_scores(
    true: Sequence[Sequence[str]] | Sequence[Sequence[Entity]],
    predicted: Sequence[Sequence[str]] | Sequence[Sequence[Entity]],
    scheme: str | None = "bio",
    mode: str = "strict",
) -> EntityScores:
    """Precision, recall and F1 over entities; right are those with the same type, first and last.

    Args:
        true: A row for each sentence: its tags, or with `scheme=None` its entities, each (type,
            start, end) in any unit.
        predicted: As many rows, as long.
        scheme: `bio`, `iobes`, `plain`, or None for rows of entities.
        mode: `strict` or `lenient`, for both sides; see the module.

    Returns:
        The scores. Without an entity in either, all are 0.

    Raises:
        ValueError: Another number of rows, a row of another length, or a tag that the scheme does
            not have; the row is named.
    """
    _check_mode(scheme, mode)
    if len(true) != len(predicted):
        raise ValueError(
            f"`predicted` must have a row for each of the {len(true)} rows of `true`. "
            f"Received: {len(predicted)}"
        )
    counts: dict[str, Counter[str]] = {"true": Counter(), "predicted": Counter()}
    right: Counter[str] = Counter()
    for number, rows in enumerate(zip(true, predicted, strict=True)):
        if scheme is not None and len(rows[0]) != len(rows[1]):
            raise ValueError(
                f"`predicted` row {number} must have {len(rows[0])} tags, as in `true`. "
                f"Received: {len(rows[1])}"
            )
        sets: list[set[Entity]] = []
        for name, row in zip(counts, rows, strict=True):
            try:
                sets.append({*(row if scheme is None else entities(row, scheme, mode))})  # type: ignore[arg-type,misc]
            except ValueError as error:
                raise ValueError(f"`{name}` row {number}: {error}") from None
            counts[name].update(kind for kind, _, _ in sets[-1])
        right.update(kind for kind, _, _ in sets[0] & sets[1])
    types = {
        kind: _score(right[kind], counts["predicted"][kind], counts["true"][kind])
        for kind in sorted({*counts["true"], *counts["predicted"]})
    }
    total = (right.total(), counts["predicted"].total(), counts["true"].total())
    precision, recall, f1 = (
        sum(score[place] for score in types.values()) / max(len(types), 1) for place in range(3)
    )
    return EntityScores(_score(*total), Score(precision, recall, f1, *total), types)


def _score(correct: int, predicted: int, true: int) -> Score:
    precision = correct / predicted if predicted else 0.0
    recall = correct / true if true else 0.0
    f1 = 2 * precision * recall / (precision + recall) if correct else 0.0
    return Score(precision, recall, f1, correct, predicted, true)


def _check_mode(scheme: str | None, mode: str) -> None:
    if mode not in ("strict", "lenient"):
        raise ValueError(f"`mode` must be strict or lenient. Received: {mode!r}")
    if mode == "lenient" and scheme in ("plain", None):
        raise ValueError(
            f"`mode` 'lenient' is about letters such as B and I; `scheme` {scheme!r} has none. "
            "Leave it out."
        )
