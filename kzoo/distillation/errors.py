"""The error that distillation raises about its input."""

from __future__ import annotations

from kzoo.errors import KzooError


class DistillationError(KzooError):
    """A teacher, a student, a loss or their data do not fit together. Also a `ValueError`."""
