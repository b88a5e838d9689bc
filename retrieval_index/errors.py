"""Every error a user of this package can cause or meet, under one base class."""

from __future__ import annotations


class RetrievalIndexError(ValueError):
    """Base of all errors of this package: what was received, and what would be right."""


class ArgumentError(RetrievalIndexError):
    """An argument is outside what it may be."""


class CorpusError(RetrievalIndexError):
    """A corpus is missing, empty, unreadable, or (when strict) has a bad entry."""


class EncoderError(RetrievalIndexError):
    """An encoder cannot be found, does not fit the protocol, or returned unusable vectors."""


class EncoderMismatchError(EncoderError):
    """The encoder at hand is not the one that made the vectors of the index."""


class IndexExistsError(RetrievalIndexError):
    """The place for a new index is taken."""


class IndexNotFoundError(RetrievalIndexError):
    """There is no index at the given place."""


class BuildLockedError(RetrievalIndexError):
    """Another process is building or changing the same index now."""


class WorkerLostError(RetrievalIndexError):
    """A process that built a part of an index on Ray died too often."""


class DocumentNotFoundError(RetrievalIndexError):
    """A document that is to be deleted is not in the index."""


class CorruptIndexError(RetrievalIndexError):
    """A file of an index is damaged, truncated, foreign, or does not fit the others."""


class NewerFormatError(RetrievalIndexError):
    """An index was written by a newer version of this package."""


class ClosedIndexError(RetrievalIndexError):
    """An index was used after `close()`."""


class EvaluationError(RetrievalIndexError):
    """Queries, judgements or a run cannot be read, or do not fit each other."""


class RetrievalIndexWarning(UserWarning):
    """Something was passed over during a build; counts and places are in its report."""


def check_positive(name: str, value: object) -> int:
    """Returns `value` as an int of at least 1, or raises `ArgumentError` that names it."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ArgumentError(f"`{name}` must be a whole number of at least 1; received: {value!r}.")
    number = int(value.__index__())
    if number < 1:
        raise ArgumentError(f"`{name}` must be at least 1; received: {number}.")
    return number
