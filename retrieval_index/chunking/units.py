"""The units in which chunk sizes are counted, and the places where no cut may be."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

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
    """Returns the units of a text, in one pass: there are millions of them.

    Starts are moved past whitespace, and units behind the last character that is none are dropped:
    some tokenisers count the space before a word as part of its token, or as a token. Two units
    that start at the same character in earnest must show that they do: no chunk can begin between.
    """
    units: list[Span] = []
    length = len(text)
    previous = covered = place = 0
    for span in spans:
        start, end = span
        if type(start) is not int or type(end) is not int:
            start, end = int(start), int(end)
        if not previous <= start <= end <= length:
            raise _refusal(length, previous, (start, end))
        previous = start
        if start > covered:
            gap = text[covered:start]
            if gap != " " and not gap.isspace():
                left_out = word_spans(text, covered, start)
                units += left_out
                place = max(place, left_out[-1][0])
        if end > covered:
            covered = end
        if start > place:
            place = start
        while place < length and text[place].isspace():
            place += 1
        if place < length:
            units.append((place, end if end > place else place))
    return units + word_spans(text, covered)


def _refusal(length: int, previous: int, span: Span) -> EncoderError:
    start, end = span
    if 0 <= start <= end <= length:
        return EncoderError(
            "`encoder.token_offsets` must return spans in the order of the text; received one that "
            f"starts at {previous} before {span}."
        )
    return EncoderError(
        f"`encoder.token_offsets` must return spans inside the text of {length} characters; "
        f"received {span}."
    )


# Characters joined to one beyond which a cut is allowed. Unicode's stream-safe format (UAX 15) has
# 30 marks at most; without a bound a text of nothing but marks would be one endless chunk.
MAX_LENGTH = 64

_ZWJ = "\u200d"
_MARKS = frozenset(("Mn", "Mc", "Me"))


def is_border(text: str, place: int) -> bool:
    """Returns whether a text may be cut before `text[place]`.

    Not between a base and its combining marks or variation selectors, inside an emoji joined by
    U+200D or with a skin tone, between the two regional indicators of a flag, inside a syllable of
    conjoining Hangul, between CR and LF, or inside a surrogate pair that stayed two characters.
    Of Unicode's rules for grapheme clusters (UAX 29), prepended marks and Indic conjuncts are left
    out.
    """
    if place <= 0 or place >= len(text):
        return True
    here, before = text[place], text[place - 1]
    if here < "\u0300":
        return not (here == "\n" and before == "\r")
    if before.isspace():
        return True  # a mark on a space: chunks neither begin nor end with whitespace
    if extends(here):
        return False
    if before == _ZWJ:
        return unicodedata.category(here) != "So"
    if _is_flag(here):
        return _flags_before(text, place) % 2 == 0
    if "\u1160" <= here <= "\u11ff":  # a vowel or final consonant of conjoining Hangul
        return not ("\u1100" <= before <= "\u11ff" or "\uac00" <= before <= "\ud7a3")
    return not ("\udc00" <= here <= "\udfff" and "\ud800" <= before <= "\udbff")


def border_before(text: str, place: int) -> int:
    """Returns the last border at or before `place`; `place` where none is near."""
    for found in range(place, max(-1, place - MAX_LENGTH), -1):
        if is_border(text, found):
            return found
    return place


def border_after(text: str, place: int) -> int:
    """Returns the first border at or after `place`; `place` where none is near."""
    for found in range(place, place + MAX_LENGTH):
        if is_border(text, found):
            return found
    return place


def extends(character: str) -> bool:
    """Returns whether a character belongs to the one before it, whatever that is."""
    return (
        character == _ZWJ
        or "\U0001f3fb" <= character <= "\U0001f3ff"
        or unicodedata.category(character) in _MARKS
    )


def _flags_before(text: str, place: int) -> int:
    lowest = max(0, place - MAX_LENGTH)
    first = place
    while first > lowest and _is_flag(text[first - 1]):
        first -= 1
    # In a longer row every second place is taken, counted from the start of the text.
    return place if place - first == MAX_LENGTH else place - first


def _is_flag(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
