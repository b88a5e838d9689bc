"""From text to the terms that BM25 counts."""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import Any

from retrieval_index.errors import ArgumentError, RetrievalIndexError
from retrieval_index.lexical.languages import find_language, stopword_list

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


MAX_REMEMBERED = 200_000  # words whose term is kept: tens of megabytes, and nearly all that recur


class Analyzer:
    """Splits, lower-cases, drops stopwords, stems: the same for passages and for queries.

    For English this is `bm25s.tokenize(text, stopwords="en", stemmer=Stemmer.Stemmer("english"))`
    on text without accents, ligatures or unspaced scripts, for which see `words.split_words`.

    Args:
        language: ISO 639-1 code of `languages.LANGUAGES`, or "none" for words as they are.
            Default "en".
        stopwords: True drops bm25s' list for the language; the languages that have none there
            (see `LANGUAGES`) drop nothing. False drops nothing; an iterable of lower-case words
            drops these instead. Default True.
        stemmer: Stem by the Snowball algorithm of the language; the languages without one (zh,
            ko, none) keep their words. Default True.

    Raises:
        ArgumentError: If the language is unknown, or another argument is of the wrong type.
        RetrievalIndexError: If bm25s or PyStemmer is missing.
    """

    def __init__(
        self, language: str = "en", stopwords: bool | Iterable[str] = True, stemmer: bool = True
    ) -> None:
        found = find_language(language)
        if not isinstance(stemmer, bool):
            raise ArgumentError(f"`stemmer` must be True or False; received: {stemmer!r}.")
        self.language = language
        self.stemmer = stemmer
        self._own_stopwords = None if isinstance(stopwords, bool) else _checked_words(stopwords)
        self._uses_stopwords = stopwords is not False
        if self._own_stopwords is not None:
            self.stopwords = frozenset(self._own_stopwords)
        elif stopwords and found.stopwords:
            self.stopwords = stopword_list(found.stopwords)
        else:
            self.stopwords = frozenset()
        self._folds = found.folds
        self._snowball = _snowball(found.stemmer) if stemmer and found.stemmer else None
        self._lock = threading.Lock()  # a Snowball stemmer serves one thread at a time
        self._terms: dict[str, str | None] = {}

    @classmethod
    def from_settings(cls, settings: object) -> Analyzer:
        """Returns the analyzer whose `settings()` these are.

        Raises:
            ArgumentError: If a key is missing, unknown or of the wrong type.
        """
        if not isinstance(settings, dict) or set(settings) != {"language", "stopwords", "stemmer"}:
            raise ArgumentError(
                "`settings` of an analyzer must be an object with the keys language, stopwords, "
                f"stemmer; received: {settings!r}."
            )
        return cls(**settings)

    def settings(self) -> dict[str, Any]:
        """Returns what `from_settings` needs, as JSON values."""
        stopwords = self._uses_stopwords if self._own_stopwords is None else self._own_stopwords
        return {"language": self.language, "stopwords": stopwords, "stemmer": self.stemmer}

    def tokens(self, text: str) -> list[str]:
        """Returns the terms of a text in order, repetitions included.

        Raises:
            ArgumentError: If `text` is no string.
        """
        if not isinstance(text, str):
            raise ArgumentError(f"`text` must be a string; received: {type(text).__name__}.")
        words = split_words(text, folds=self._folds, turkish=self.language == "tr")
        terms = self._terms
        if not all(word in terms for word in words):
            terms = self._learn(words)
        return [term for word in words if (term := terms[word]) is not None]

    def _learn(self, words: list[str]) -> dict[str, str | None]:
        """Returns a mapping that holds all of `words`, and remembers it."""
        with self._lock:
            terms = self._terms
            if len(terms) > MAX_REMEMBERED:
                terms = {}  # a new one, as another thread may be reading the old
            fresh = [word for word in dict.fromkeys(words) if word not in terms]
            stems = self._snowball.stemWords(fresh) if self._snowball else fresh
            for word, stem in zip(fresh, stems, strict=True):
                terms[word] = None if word in self.stopwords else stem
            self._terms = terms
            return terms

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Analyzer) and self.settings() == other.settings()

    def __hash__(self) -> int:
        return hash((self.language, self._uses_stopwords, self.stopwords, self.stemmer))

    def __repr__(self) -> str:
        return f"Analyzer({', '.join(f'{k}={v!r}' for k, v in self.settings().items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Analyzer.from_settings, (self.settings(),)  # neither lock nor stemmer travels


def _checked_words(stopwords: object) -> list[str]:
    if isinstance(stopwords, str) or not isinstance(stopwords, Iterable):
        raise ArgumentError(
            f"`stopwords` must be True, False or an iterable of words; received: {stopwords!r}."
        )
    words = list(stopwords)
    wrong = next((word for word in words if not isinstance(word, str)), None)
    if wrong is not None:
        raise ArgumentError(f"`stopwords` must hold only strings; received: {wrong!r}.")
    return sorted(set(words))


def _snowball(algorithm: str) -> Any:
    try:
        import Stemmer
    except ImportError as error:
        raise RetrievalIndexError(
            f"`stemmer` needs the package PyStemmer ({error}). Run: pip install PyStemmer"
        ) from error
    try:
        return Stemmer.Stemmer(algorithm)
    except KeyError as error:
        raise RetrievalIndexError(
            f"`stemmer`: the installed PyStemmer has no algorithm {algorithm!r}. "
            "Run: pip install --upgrade PyStemmer"
        ) from error
