"""The folder a change works in, which one process at a time holds; its vectors survive a crash."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from retrieval_index.errors import ArgumentError, BuildLockedError, IndexExistsError
from retrieval_index.storage.durable import fsync_folder, write_json
from retrieval_index.storage.manifest import MANIFEST_NAME

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


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


def digest_texts(texts: Iterable[str]) -> str:
    """Returns one hash for a sequence of texts; moving text across a border changes it."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8")
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()


class Shards:
    """Numbered arrays in a folder, each with a marker that says what it was encoded from.

    A shard is reused only if the texts at its place are the same texts. This needs no fingerprint
    of the corpus: files that were touched but not changed lose nothing, an entry changed in the
    middle costs the shards it moved, and a generator is treated like a file. Reading and chunking
    again is the price; it is small next to encoding.

    Args:
        folder: Where the shards lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def holds(self, number: int, texts_digest: str) -> bool:
        """Returns whether the shard is complete and was encoded from these texts."""
        try:
            marker = json.loads(self._marker(number).read_text(encoding="utf-8"))
            if marker["texts"] != texts_digest:
                return False
            vectors: str = marker["vectors"]
            return vectors == _sha256(self._array(number).read_bytes())
        except (OSError, ValueError, KeyError, TypeError):
            return False  # a marker or array cut short by a crash: as good as none

    def write(self, number: int, vectors: npt.NDArray[np.float32], texts_digest: str) -> None:
        """Writes a shard durably: first the vectors, then the marker that makes them count."""
        import numpy as np

        self._marker(number).unlink(missing_ok=True)
        buffer = io.BytesIO()
        np.save(buffer, vectors, allow_pickle=False)
        data = buffer.getvalue()
        path = self._array(number)
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        fsync_folder(self._folder)
        write_json(self._marker(number), {"texts": texts_digest, "vectors": _sha256(data)})

    def any(self) -> bool:
        """Returns whether at least one shard is complete."""
        return next(self._folder.glob("shard-*.json"), None) is not None

    def arrays(self, count: int) -> Iterator[npt.NDArray[np.float32]]:
        """Yields the first `count` shards, in order, one in memory at a time."""
        import numpy as np

        for number in range(count):
            yield np.load(self._array(number), allow_pickle=False)

    def _array(self, number: int) -> Path:
        return self._folder / f"shard-{number:06d}.npy"

    def _marker(self, number: int) -> Path:
        return self._folder / f"shard-{number:06d}.json"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
