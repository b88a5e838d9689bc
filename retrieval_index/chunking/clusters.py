"""Where a cut would tear one visible character apart."""

from __future__ import annotations

import unicodedata

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
