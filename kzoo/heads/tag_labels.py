"""Labels of words as people have them: tags of several schemes, or entities in characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.errors import InputError
from kzoo.metrics.entities import entities, parse_tag

OUTSIDE = "O"


def fits(labels: Sequence[str], scheme: str) -> bool:
    """Whether a scheme has all of these tags."""
    try:
        return all(parse_tag(label, scheme) for label in labels)
    except ValueError:
        return False


def as_bio(tags: Sequence[str]) -> list[str]:
    """IOB1, where B- stands only between two entities of a type, as IOB2."""
    found = [OUTSIDE] * len(tags)
    for kind, first, last in entities(tags, "bio", "lenient"):
        found[first:last] = [f"B-{kind}", *[f"I-{kind}"] * (last - first - 1)]
    return found


def holds_spans(row: Sequence[Any]) -> bool:
    """Whether the labels of a row are entities, and not tags."""
    return bool(row) and isinstance(row[0], tuple)


def span_of(value: Any) -> tuple[int, int, str]:
    """An entity as people write it: (start, end, type), or a dict with these."""
    try:
        if isinstance(value, Mapping):
            kind = next(value[key] for key in ("label", "type", "entity") if key in value)
            return int(value["start"]), int(value["end"]), str(kind)
        start, end, kind = value
        return int(start), int(end), str(kind)
    except (TypeError, ValueError, KeyError, StopIteration) as error:
        raise InputError(
            "An entity must be (start, end, type), or a dict with `start`, `end` and `label`. "
            f"Received: {value!r:.80}"
        ) from error


def spans_to_tags(
    spans: Sequence[tuple[int, int, str]], words: NDArray[np.int64], text: str, number: int
) -> tuple[list[str], int]:
    """BIO tags of the words that entities touch.

    Args:
        spans: (first character, behind the last, type).
        words: int (words, 2), characters of the words.
        text: The text.
        number: Of the row, for errors.

    Returns:
        A tag for each word, and how many entities begin or end within a word, or in a word that
        another has.

    Raises:
        InputError: A span outside of the text, one that touches no word, or two that overlap.
    """
    tags = [OUTSIDE] * len(words)
    inside, behind = 0, 0
    for start, end, kind in sorted(spans):
        first = int(np.searchsorted(words[:, 1], start, side="right"))
        last = int(np.searchsorted(words[:, 0], end, side="left"))
        if not 0 <= start < end <= len(text) or first >= last:
            raise InputError(
                f"`y` row {number}: the entity ({start}, {end}, {kind!r}) has no word in the text "
                f"of {len(text)} characters: {text!r:.60}"
            )
        if start < behind:
            raise InputError(
                f"`y` row {number}: the entity ({start}, {end}, {kind!r}) overlaps another; a word "
                "has one tag."
            )
        behind = end
        own = [word for word in range(first, last) if tags[word] == OUTSIDE]
        cut = words[first, 0] < start and text[words[first, 0] : start].strip()
        cut = cut or (words[last - 1, 1] > end and text[end : words[last - 1, 1]].strip())
        inside += bool(cut) or len(own) < last - first
        for word in own:
            tags[word] = f"{'B' if word == own[0] else 'I'}-{kind}"
    return tags, inside
