"""From text to words, in any script."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

# Scripts that put no space between words: Thai and Lao, Myanmar, Hangul Jamo, Khmer, kana, Han.
# Hangul has spaces, but a Korean word carries its particles, and bigrams find it without them.
_UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ebd\u0ec0-\u0ecf\u1000-\u103f\u1050-\u108f"
    "\u1100-\u11ff\u1780-\u17d3\u3005\u3007\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff"
    "\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff"
    "\uff66-\uff9f\U00020000-\U000323af"
)
# Soft hyphen, zero-width joiner, word joiner, byte order mark, variation selectors: they stand
# inside words unseen.
_INVISIBLE = dict.fromkeys((0xAD, 0x200D, 0x2060, 0xFEFF, *range(0xFE00, 0xFE10)))
# Letters that carry their stroke or ligature inside and do not decompose.
_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "ı": "i"}
)
# Other shapes of plain letters: micro sign, ligatures, Arabic presentation forms, full and half
# width, mathematical alphabets. The rest of NFKC harms words: it makes "Java™" "JavaTM" and "1½"
# "11⁄2".
_SHAPES = re.compile(
    "[\u00b5\ufb00-\ufb4f\ufb50-\ufdff\ufe70-\ufefc\uff01-\uffdc\U0001d400-\U0001d7ff]+"
)
_ACCENTS = re.compile("[\u0300-\u036f]+")
_ASCII_WORD = re.compile(r"\w\w+", re.ASCII)


def split_words(text: str, *, folds: bool = False, turkish: bool = False) -> list[str]:
    """Returns the lower-case words of a text, in order.

    A word is a run of at least two letters, digits or underscores, as in scikit-learn's
    `CountVectorizer` and in bm25s. Beyond these two, combining marks belong to their word (Python's
    `\\w` would cut Hindi and vocalised Arabic to pieces), ligatures, widths and composed letters
    are unified ("ﬁ" is "fi"), and scripts without spaces between words give overlapping bigrams,
    as Lucene's CJKBigramFilter does; of a run of one character, that character.

    Args:
        text: Any text.
        folds: Take accents off Latin, Greek and Cyrillic letters. Default False.
        turkish: Lower "I" to "ı" and "İ" to "i". Default False.
    """
    if text.isascii() and not turkish:
        return _ASCII_WORD.findall(text.lower())
    text = _SHAPES.sub(_plain, text.translate(_INVISIBLE))
    text = unicodedata.normalize("NFC", text)
    if turkish:
        text = text.replace("I", "ı").replace("İ", "i")
    text = text.lower()
    if folds:
        text = _ACCENTS.sub("", unicodedata.normalize("NFD", text))
        text = unicodedata.normalize("NFC", text).translate(_LETTERS)
    words: list[str] = []
    for match in _pattern().finditer(text):
        word = match.group()
        if match.lastgroup == "unspaced":
            words.extend(_bigrams(word))
        elif len(word) > 1:
            words.append(word)
    return words


def _plain(match: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", match.group())


def _bigrams(run: str) -> list[str]:
    if len(run) < 3:
        return [run]
    return [run[i : i + 2] for i in range(len(run) - 1)]


@cache
def _pattern() -> re.Pattern[str]:
    """The words of a normalised text; built at first use, as it asks for all combining marks."""
    marks = _ranges(
        code
        for code in range(0x20000)  # above it stand only Han, and more selectors
        if unicodedata.category(chr(code)).startswith("M")
    )
    letter = rf"[^\W{_UNSPACED}]"
    return re.compile(rf"(?P<unspaced>[{_UNSPACED}]+)|{letter}(?:{letter}|[{marks}])*")


def _ranges(codes: Iterable[int]) -> str:
    """Returns ascending code points as the inside of a character class."""
    spans: list[list[int]] = []
    for code in codes:
        if spans and spans[-1][1] == code - 1:
            spans[-1][1] = code
        else:
            spans.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in spans)
