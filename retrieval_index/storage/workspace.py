"""The folder a build works in, and the moment the result becomes the index."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from retrieval_index.errors import ArgumentError, IndexExistsError
from retrieval_index.storage.durable import fsync_folder, write_json
from retrieval_index.storage.lock import exclusive
from retrieval_index.storage.manifest import DOCUMENTS, MANIFEST_NAME, VECTORS, FileEntry, Manifest
from retrieval_index.storage.shards import Shards

FILE_NAMES = {DOCUMENTS: "documents.sqlite", VECTORS: "vectors.faiss"}
_VERSION = re.compile(r"v(\d{4,})")


def check_target(out: str | os.PathLike[str], overwrite: bool) -> Path:
    """Returns where the index will lie.

    Args:
        out: The folder; it may be absent or empty, or hold an index when `overwrite`.
        overwrite: Whether an index there is replaced.

    Raises:
        ArgumentError: If `out` is no path.
        IndexExistsError: If something is there that must not be replaced.
    """
    if not isinstance(out, str | os.PathLike) or not os.fspath(out):
        raise ArgumentError(f"`out` must be the path of a folder; received: {out!r}.")
    target = Path(out).expanduser().resolve()
    if not target.exists():
        return target
    if not target.is_dir():
        raise IndexExistsError(f"`out` must be a folder; {target} is a file.")
    if (target / MANIFEST_NAME).exists():
        if not overwrite:
            raise IndexExistsError(
                f"`out` {target} holds an index already. Use `overwrite=True` to replace it, "
                "or another folder."
            )
    elif any(target.iterdir()):
        raise IndexExistsError(
            f"`out` {target} holds files that are no index. Choose a new or an empty folder."
        )
    return target


class Workspace:
    """A hidden folder beside the index: shards and files until the index is complete.

    Lying beside it, it is on the same disk, so that the last step is a rename. A build that is
    broken off leaves it behind, and the next one with the same settings takes up its shards.

    Args:
        target: Folder of the index.
        folder: The folder to work in.
    """

    def __init__(self, target: Path, folder: Path) -> None:
        self._target = target
        self._folder = folder
        self.shards = Shards(folder)

    @classmethod
    @contextmanager
    def opened(cls, target: Path, plan: Mapping[str, Any]) -> Iterator[Workspace]:
        """Holds the workspace of an index for one build, and clears it unless it is worth keeping.

        Args:
            target: Folder of the index.
            plan: What decides the vectors; a workspace with another plan is emptied first.

        Raises:
            BuildLockedError: If another build of the same index is running.
        """
        folder = target.with_name(f".{target.name}.building")
        with exclusive(folder):
            workspace = cls(target, folder)
            workspace._adopt(plan)
            try:
                yield workspace
            except BaseException:
                if not workspace.shards.any():
                    shutil.rmtree(folder, ignore_errors=True)
                raise
            shutil.rmtree(folder, ignore_errors=True)

    def file(self, key: str) -> Path:
        """Returns where to write the file of the new index that has this manifest key."""
        return self._folder / FILE_NAMES[key]

    def commit(self, manifest: Manifest) -> None:
        """Turns the finished files into the index, in one rename.

        Where there is no index, a folder with everything in it is renamed. Where there is one,
        the new version is put beside the old, and replacing the manifest switches over. Readers of
        the old version keep their open files. A crash leaves the old state or the new one.

        Args:
            manifest: The manifest without `files`, which are filled in here.
        """
        fresh = not (self._target / MANIFEST_NAME).exists()
        version = "v0001" if fresh else _next_version(self._target)
        # A folder of this name without a manifest pointing to it is left from a crash.
        root = self._folder / "commit" if fresh else self._target
        shutil.rmtree(root / version, ignore_errors=True)
        staged = self._folder / version
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir()
        files = {}
        for key, name in FILE_NAMES.items():
            os.replace(self.file(key), staged / name)
            files[key] = FileEntry.of(staged / name, f"{version}/{name}")
        fsync_folder(staged)
        root.mkdir(parents=True, exist_ok=True)
        os.replace(staged, root / version)
        fsync_folder(root)
        replace(manifest, files=files).write(root)
        if fresh:
            if self._target.exists():
                self._target.rmdir()  # empty, as was checked; Windows renames onto nothing
            os.replace(root, self._target)
            fsync_folder(self._target.parent)
        _remove_other_versions(self._target, version)

    def _adopt(self, plan: Mapping[str, Any]) -> None:
        path = self._folder / "plan.json"
        try:
            same = json.loads(path.read_text(encoding="utf-8")) == dict(plan)
        except (OSError, ValueError):
            same = False
        if same:
            return
        for item in self._folder.iterdir():
            if item.name == "lock":
                continue
            if item.is_dir():
                shutil.rmtree(item)
            else:
                item.unlink()
        write_json(path, dict(plan))


def _versions(target: Path) -> dict[str, int]:
    matches = [_VERSION.fullmatch(item.name) for item in target.iterdir() if item.is_dir()]
    return {match.group(): int(match.group(1)) for match in matches if match}


def _next_version(target: Path) -> str:
    return f"v{max(_versions(target).values(), default=0) + 1:04d}"


def _remove_other_versions(target: Path, kept: str) -> None:
    for name in _versions(target):
        if name != kept:
            # Where a reader's open files cannot be removed (Windows), the next build tries again.
            shutil.rmtree(target / name, ignore_errors=True)
