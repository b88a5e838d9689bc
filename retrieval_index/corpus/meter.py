"""How much of a corpus was read, for a guess at the time left."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import IO, Any

_CURRENT: ContextVar[ReadMeter | None] = ContextVar("retrieval_index_meter", default=None)


class ReadMeter:
    """Counts bytes of files, or items, as a reader goes through them.

    Readers find the meter of their reading by `watched` and `counted`, so that they need not be
    handed one; without `active` nothing is counted.

    Args:
        total: Bytes or items there are; None: unknown.
    """

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._done = 0
        self._file: Any = None

    def fraction(self) -> float | None:
        """Returns the share that was read, or None where it is unknown."""
        if not self._total:
            return None
        done = self._done
        try:
            # May be asked from another thread than the one that reads, and closes, the file.
            done += self._file.tell() if self._file is not None else 0
        except (ValueError, OSError):
            done = self._done
        return min(1.0, done / self._total)

    @contextmanager
    def active(self) -> Iterator[ReadMeter]:
        """Makes it the meter of what is read inside the `with`."""
        token = _CURRENT.set(self)
        try:
            yield self
        finally:
            _CURRENT.reset(token)

    @contextmanager
    def _watching(self, file: IO[bytes]) -> Iterator[None]:
        outer, self._file = self._file, file
        try:
            yield
        finally:
            self._file = outer
            self._done += os.fstat(file.fileno()).st_size if outer is None else 0


@contextmanager
def watched(file: IO[bytes]) -> Iterator[None]:
    """Counts a file, opened as it lies on the disk, as far as it is read."""
    meter = _CURRENT.get()
    if meter is None:
        yield
        return
    with meter._watching(file):
        yield


def counted() -> None:
    """Counts one item."""
    meter = _CURRENT.get()
    if meter is not None:
        meter._done += 1


def bytes_of_files(paths: Iterable[os.PathLike[str]]) -> int:
    """Returns how large files are together; those that cannot be looked at count nothing."""
    total = 0
    for path in paths:
        try:
            total += os.stat(path).st_size
        except OSError:
            continue
    return total
