"""The one exception and the one warning of this package."""

from __future__ import annotations


class DatasetError(ValueError):
    """Data or an argument that cannot be used; the message says what would be right."""


class DatasetWarning(UserWarning):
    """Something was left out of a dataset; the message says how much, where and why."""
