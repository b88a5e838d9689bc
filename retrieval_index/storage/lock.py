"""One writer at a time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from retrieval_index.errors import BuildLockedError

if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[bytes]) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: IO[bytes]) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Holds the lock of a folder, which is made if need be.

    The operating system drops the lock when the process ends, however it ends: a killed build
    leaves no stale lock.

    Raises:
        BuildLockedError: If another process, or another build in this one, holds it.
    """
    with _acquired(folder):
        yield


def _acquired(folder: Path) -> IO[bytes]:
    path = folder / "lock"
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("ab")
        except FileNotFoundError:
            continue  # the holder removed the folder between the two calls
        try:
            _lock(file)
        except OSError as error:
            file.close()
            raise BuildLockedError(
                f"`out` is being built by another process now (it works in {folder}). "
                "Wait for it, or choose another `out`."
            ) from error
        if _is_same(path, file):
            return file
        file.close()  # the holder finished and removed the file we had opened: start again


def _is_same(path: Path, file: IO[bytes]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
