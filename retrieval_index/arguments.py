"""Checks of plain arguments, shared by the public functions."""

from __future__ import annotations

from retrieval_index.errors import ArgumentError


def check_positive(name: str, value: object) -> int:
    """Returns `value` as an int of at least 1, or raises `ArgumentError` that names it."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ArgumentError(f"`{name}` must be a whole number of at least 1; received: {value!r}.")
    number = int(value.__index__())
    if number < 1:
        raise ArgumentError(f"`{name}` must be at least 1; received: {number}.")
    return number
