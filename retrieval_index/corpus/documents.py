"""What the readers of one-document files have in common."""

from __future__ import annotations

from typing import NamedTuple


class Extract(NamedTuple):
    """What a file says.

    Attributes:
        text: Its body.
        title: Its title, or "".
    """

    text: str
    title: str


class UnusableFileError(Exception):
    """A file that makes no document.

    Args:
        reason: Short name of the kind, for the problem log.
        detail: One sentence without a full stop.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
