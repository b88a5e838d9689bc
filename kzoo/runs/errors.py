"""What can go wrong with a run folder, and the end by Ctrl-C."""

from __future__ import annotations

from kzoo.errors import KzooError


class RunError(KzooError):
    """A run folder cannot be written, continued or read as asked."""


class Interrupted(KeyboardInterrupt):
    """Training was stopped by the user; the message says what was kept and how to go on."""
