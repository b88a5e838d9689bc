"""One writer at a time."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
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


LOCK = "lock"
OWNER = "owner.json"


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Holds the lock of a folder, which is made if need be.

    The operating system drops the lock when the process ends, however it ends: a lock is stale
    exactly when nobody holds it, and a killed build leaves none. Who holds it stands in
    `owner.json` beside it, for the message to others.

    Raises:
        BuildLockedError: If another process, or another build in this one, holds it.
    """
    with _acquired(folder):
        _write_owner(folder / OWNER)
        yield


def _acquired(folder: Path) -> IO[bytes]:
    path = folder / LOCK
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
                f"`out` is being built or changed by another process now{_owner(folder / OWNER)}; "
                f"it works in {folder}. Wait for it, or choose another `out`."
            ) from error
        if _is_same(path, file):
            return file
        file.close()  # the holder finished and removed the file we had opened: start again


def _is_same(path: Path, file: IO[bytes]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _write_owner(path: Path) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    owner = {"process": os.getpid(), "host": socket.gethostname(), "since": since}
    path.write_text(json.dumps(owner), encoding="utf-8")


def _owner(path: Path) -> str:
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
        return f" (process {owner['process']} on {owner['host']}, since {owner['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # not written yet, or being written
