"""The units in which chunk sizes are counted: words, or the tokens of an encoder."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from retrieval_index.errors import EncoderError

Span = tuple[int, int]
TokenOffsets = Callable[[list[str]], Sequence[Sequence[Span]]]

# Scripts written without spaces: Thai to Khmer, kana, Han, Hangul, and the ideographs beyond the
# basic plane. One character there carries about as much as a token, so it counts as a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_UNSPACED += "\uf900-\ufaff\U00020000-\U0003ffff"
# A run without spaces is cut every 16 characters: a URL or a base64 line is many tokens, not one.
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]{{1,16}}")


def word_spans(text: str, start: int = 0, end: int | None = None) -> list[Span]:
    """Returns the character spans of the words in `text[start:end]`.

    Every character that is not whitespace lies in exactly one span.
    """
    stop = len(text) if end is None else end
    return [match.span() for match in _WORD.finditer(text, start, stop)]


def token_spans(texts: list[str], token_offsets: TokenOffsets) -> list[list[Span]]:
    """Returns the spans of an encoder's tokens, with words where the tokeniser left characters out.

    A tokeniser drops some characters (control characters, for one) and may cut a long text short
    against the protocol. What it left out is counted in words, so that no text goes unchunked and
    no chunk grows without bound.

    Args:
        texts: Texts to measure.
        token_offsets: The encoder's method of this name.

    Returns:
        For each text its spans, ascending.

    Raises:
        EncoderError: If the offsets are not ascending spans inside the text.
    """
    answers = token_offsets(texts)
    if len(answers) != len(texts):
        raise EncoderError(
            f"`encoder.token_offsets` must return one list for each of {len(texts)} texts; "
            f"received {len(answers)}."
        )
    return [_filled(text, spans) for text, spans in zip(texts, answers, strict=True)]


def _filled(text: str, spans: Sequence[Span]) -> list[Span]:
    tokens = [(int(start), int(end)) for start, end in spans]
    for start, end in tokens:
        if not 0 <= start <= end <= len(text):
            raise EncoderError(
                f"`encoder.token_offsets` must return spans inside the text of {len(text)} "
                f"characters; received ({start}, {end})."
            )
    for left, right in pairwise(tokens):
        if right[0] < left[0]:
            raise EncoderError(
                "`encoder.token_offsets` must return spans in the order of the text; received "
                f"{left} before {right}."
            )
    filled: list[Span] = []
    covered = 0
    for start, end in tokens:
        if start > covered:
            filled += word_spans(text, covered, start)
        filled.append((start, end))
        covered = max(covered, end)
    return _without_leading_space(text, filled + word_spans(text, covered))


def _without_leading_space(text: str, spans: list[Span]) -> list[Span]:
    """Moves starts past whitespace, and drops units behind the last character that is none.

    Some tokenisers count the space before a word as part of its token, or as a token. Two units
    that start at the same character in earnest must show that they do: no chunk can begin between.
    """
    moved: list[Span] = []
    place = 0
    for start, end in spans:
        place = max(place, start)
        while place < len(text) and text[place].isspace():
            place += 1
        if place == len(text):
            break
        moved.append((place, max(place, end)))
    return moved
