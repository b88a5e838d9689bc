"""From text to the terms that BM25 counts."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from retrieval_index.errors import ArgumentError, RetrievalIndexError
from retrieval_index.lexical.languages import find_language, stopword_list
from retrieval_index.lexical.words import split_words

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
