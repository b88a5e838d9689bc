"""The folder a change works in, which one process at a time holds."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from retrieval_index.errors import ArgumentError, BuildLockedError, IndexExistsError
from retrieval_index.storage.durable import write_json
from retrieval_index.storage.manifest import MANIFEST_NAME
from retrieval_index.storage.shards import Shards

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


def check_target(out: str | os.PathLike[str], overwrite: bool) -> Path:
    """Returns where the index will lie.

    Args:
        out: The folder; it may be absent or empty, or hold an index when `overwrite`.
        overwrite: Whether an index there is replaced.

    Raises:
        ArgumentError: If `out` is no path.
        IndexExistsError: If something is there that must not be replaced.
    """
    target = as_folder(out, "out")
    if not target.exists():
        return target
    if not target.is_dir():
        raise IndexExistsError(f"`out` must be a folder; {target} is a file.")
    if (target / MANIFEST_NAME).exists():
        if not overwrite:
            raise IndexExistsError(
                f"`out` {target} holds an index already. Use `overwrite=True` to replace it, "
                "`retrieval_index.add` to add to it, or another folder."
            )
    elif any(target.iterdir()):
        raise IndexExistsError(
            f"`out` {target} holds files that are no index. Choose a new or an empty folder."
        )
    return target


def as_folder(path: object, name: str) -> Path:
    """Returns an argument as an absolute path, links resolved.

    Raises:
        ArgumentError: If it is no path.
    """
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise ArgumentError(f"`{name}` must be the path of a folder; received: {path!r}.")
    return Path(os.fspath(path)).expanduser().resolve()


class Workspace:
    """A hidden folder beside the index: shards and files until the change is complete.

    Lying beside it, it is on the same disk, so that the last step is a rename. A change that is
    broken off leaves it behind, and the next one with the same settings takes up its shards.

    Args:
        target: Folder of the index.
        folder: The folder to work in.
    """

    def __init__(self, target: Path, folder: Path) -> None:
        self.target = target
        self.folder = folder
        self.shards = Shards(folder)

    @classmethod
    @contextmanager
    def opened(cls, target: Path, plan: Mapping[str, Any] | None) -> Iterator[Workspace]:
        """Holds the workspace of an index for one change, and clears it unless worth keeping.

        Args:
            target: Folder of the index.
            plan: What decides the vectors; a workspace with another plan is emptied first. None:
                nothing is encoded, and the shards of a broken-off change are left for it.

        Raises:
            BuildLockedError: If another change of the same index is running.
        """
        folder = target.with_name(f".{target.name}.building")
        with exclusive(folder):
            workspace = cls(target, folder)
            if plan is not None:
                workspace._adopt(plan)
            try:
                yield workspace
            except BaseException:
                if not workspace.shards.any():
                    shutil.rmtree(folder, ignore_errors=True)
                raise
            if plan is not None or not workspace.shards.any():
                shutil.rmtree(folder, ignore_errors=True)

    def empty_folder(self, name: str) -> Path:
        """Returns a new folder of this name in the workspace; what was there is removed."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def _adopt(self, plan: Mapping[str, Any]) -> None:
        path = self.folder / "plan.json"
        try:
            same = json.loads(path.read_text(encoding="utf-8")) == dict(plan)
        except (OSError, ValueError):
            same = False
        if same:
            return
        for item in self.folder.iterdir():
            if item.name in (LOCK, OWNER):
                continue
            if item.is_dir():
                shutil.rmtree(item)
            else:
                item.unlink()
        write_json(path, dict(plan))
