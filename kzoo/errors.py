"""Errors that a user can act on: one sentence, what was received, what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pydantic import ValidationError


class KzooError(ValueError):
    """Base of every error that kzoo raises about its input."""


class RecipeError(KzooError):
    """A zoo recipe or an override is not valid."""


class WeightsError(KzooError):
    """Pretrained weights are missing, incomplete or not the ones that were promised."""


class AdapterError(KzooError):
    """An adapter cannot be added, found, saved or loaded as asked."""


class InputError(KzooError):
    """Texts or labels passed to fit, evaluate or predict are not usable."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns `` Did you mean `x`?`` or the list of what is known."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f" Did you mean `{close[0]}`?"
    return f" Known: {', '.join(known)}."


def explain_validation(error: ValidationError, what: str, known: Iterable[str] = ()) -> str:
    """Turns pydantic's report into one line that names the key and the nearest valid one.

    Args:
        error: What pydantic raised.
        what: The thing that was validated, such as ``recipe `my.yaml` ``.
        known: Valid keys beside those of the schema, for the suggestion.

    Returns:
        One line for each problem, joined by ``; ``.
    """
    known = list(known)
    problems = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"]) or "value"
        if item["type"] == "extra_forbidden":
            problems.append(f"unknown key `{key}`.{did_you_mean(str(item['loc'][-1]), known)}")
        elif item["type"] == "missing":
            problems.append(f"`{key}` is missing")
        else:
            message = item["msg"].removeprefix("Value error, ")
            problems.append(f"`{key}`: {message}. Received: {item['input']!r}")
    return f"{what} is not valid: " + "; ".join(problems)


class RunError(KzooError):
    """A run folder cannot be written, continued or read as asked."""


class Interrupted(KeyboardInterrupt):
    """Training was stopped by the user; the message says what was kept and how to go on."""


class DistillationError(KzooError):
    """A teacher, a student, a loss or their data do not fit together. Also a `ValueError`."""


class DatasetError(ValueError):
    """Data or an argument that cannot be used; the message says what would be right."""


class DatasetWarning(UserWarning):
    """Something was left out of a dataset; the message says how much, where and why."""
