"""Filters from the command line."""

from __future__ import annotations

import json
from typing import Any

_TEXT_ONLY = ("_id", "_title")


def parse_where(filters: list[str] | None) -> dict[str, Any] | None:
    """The filter that all `--where` make together.

    One that begins with `{` is JSON, in the dialect of `retrieval_index.filters`; any other is
    KEY=VALUE. The shell knows no types, so `year=2001` is the text as well as the number.

    Raises:
        InputError: If one is neither.
    """
    found = [_one(text) for text in filters or []]
    if not found:
        return None
    return found[0] if len(found) == 1 else {"$and": found}


def _one(text: str) -> dict[str, Any]:
    from kzoo.errors import InputError

    if text.lstrip().startswith("{"):
        try:
            parsed = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"--where {text!r:.80} is not JSON: {error}. In the shell, put single quotes "
                "around it, and double quotes inside."
            ) from error
        return dict(parsed)
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key or key.endswith(("<", ">", "!")):
        raise InputError(
            "--where must be KEY=VALUE, such as lang=en, or JSON, such as "
            f'\'{{"year": {{"$gte": 2000}}}}\'. Received: {text!r:.80}'
        )
    return {key: _value(key, value.strip())}


def _value(key: str, text: str) -> Any:
    try:
        scalar = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text
    if isinstance(scalar, str | list | dict) or key in _TEXT_ONLY:
        return text
    return {"$in": [text, scalar]}


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
