"""What is known of each language: its stopwords, its stemmer, whether it writes accents."""

from __future__ import annotations

from typing import NamedTuple

from retrieval_index.errors import ArgumentError, RetrievalIndexError


class Language(NamedTuple):
    """The parts of an analyzer that depend on the language.

    Args:
        stopwords: Name of a list in `bm25s.stopwords`, or None where bm25s has none.
        stemmer: Name of a Snowball algorithm, or None where Snowball has none.
        folds: Whether accents are taken off. True only where native spelling has none, so that
            an accent marks a loan ("café") that is as often written without. Elsewhere an accent
            is a letter or another word (Spanish "año", German "schon" and "schön", French
            "pêcher"), and Snowball's rules for those languages are written for accented text.
    """

    stopwords: str | None
    stemmer: str | None
    folds: bool = False


# ISO 639-1 code: everything that bm25s 0.3 has stopwords for or Snowball 3 a stemmer.
LANGUAGES: dict[str, Language] = {
    "none": Language(None, None),
    "ar": Language(None, "arabic"),
    "ca": Language(None, "catalan"),
    "cs": Language(None, "czech"),
    "da": Language("STOPWORDS_DANISH", "danish"),
    "de": Language("STOPWORDS_GERMAN", "german"),
    "el": Language(None, "greek"),
    "en": Language("STOPWORDS_EN", "english", folds=True),
    "eo": Language(None, "esperanto"),
    "es": Language("STOPWORDS_SPANISH", "spanish"),
    "et": Language(None, "estonian"),
    "eu": Language(None, "basque"),
    "fa": Language(None, "persian"),
    "fi": Language(None, "finnish"),
    "fr": Language("STOPWORDS_FRENCH", "french"),
    "ga": Language(None, "irish"),
    "hi": Language(None, "hindi"),
    "hu": Language(None, "hungarian"),
    "hy": Language(None, "armenian"),
    "id": Language(None, "indonesian", folds=True),
    "it": Language("STOPWORDS_ITALIAN", "italian"),
    "ko": Language("STOPWORDS_KOREAN", None),
    "lt": Language(None, "lithuanian"),
    "ne": Language(None, "nepali"),
    "nl": Language("STOPWORDS_DUTCH", "dutch"),
    "no": Language("STOPWORDS_NORWEGIAN", "norwegian"),
    "pl": Language(None, "polish"),
    "pt": Language("STOPWORDS_PORTUGUESE", "portuguese"),
    "ro": Language(None, "romanian"),
    "ru": Language("STOPWORDS_RUSSIAN", "russian"),
    "sr": Language(None, "serbian"),
    "st": Language(None, "sesotho"),
    "sv": Language("STOPWORDS_SWEDISH", "swedish"),
    "ta": Language(None, "tamil"),
    "tr": Language("STOPWORDS_TURKISH", "turkish"),
    "yi": Language(None, "yiddish"),
    "zh": Language("STOPWORDS_CHINESE", None),
}


def find_language(code: str) -> Language:
    """Returns what is known of a language.

    Raises:
        ArgumentError: If the code is not in `LANGUAGES`.
    """
    if not isinstance(code, str) or code not in LANGUAGES:
        raise ArgumentError(
            f"`language` must be one of {', '.join(LANGUAGES)} ('none' takes words as they are); "
            f"received: {code!r}."
        )
    return LANGUAGES[code]


def stopword_list(name: str) -> frozenset[str]:
    """Returns one of bm25s' stopword lists, which are those of NLTK, stopwords-iso and Lucene."""
    try:
        from bm25s import stopwords
    except ImportError as error:
        raise RetrievalIndexError(
            f"stopwords need the package bm25s ({error}). Run: pip install bm25s"
        ) from error
    return frozenset(getattr(stopwords, name))
