"""The moment a change becomes the index, and what is cleared away after it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from retrieval_index.errors import CorruptIndexError
from retrieval_index.storage.durable import fsync_folder
from retrieval_index.storage.manifest import (
    MANIFEST_NAME,
    Manifest,
    SegmentEntry,
    VectorsEntry,
    read_manifest_file,
)
from retrieval_index.storage.segment_files import DELETED, SEGMENTS, SNAPSHOTS, describe_files
from retrieval_index.storage.workspace import Workspace


@dataclass(frozen=True, slots=True)
class NewSegment:
    """A finished segment: its entry for the manifest, and its folder in the workspace."""

    entry: SegmentEntry
    folder: Path

    @classmethod
    def of(
        cls, folder: Path, name: str, *, documents: int, chunks: int, vectors: VectorsEntry
    ) -> NewSegment:
        """Returns the segment whose files are complete in a folder; their names are made durable.

        Args:
            folder: Where they are.
            name: The segment's name.
            documents: Number of its documents.
            chunks: Number of its passages.
            vectors: What its FAISS index is.
        """
        files = describe_files(folder, name)
        return cls(
            SegmentEntry(
                name=name, documents=documents, chunks=chunks, vectors=vectors, files=files
            ),
            folder,
        )


def commit(
    workspace: Workspace,
    manifest: Manifest,
    segments: Iterable[NewSegment],
    deleted: Iterable[Path] = (),
) -> None:
    """Makes a manifest and the new files it names the current version of the index.

    Where there is no index, a folder with everything in it is renamed. Where there is one, the new
    files are put beside the old ones, and replacing the manifest switches over. Readers of the old
    version keep their open files. A crash leaves the old state or the new one.

    Args:
        workspace: The workspace that the change holds.
        manifest: The new version.
        segments: New segments.
        deleted: New files of deletions, in the workspace, under their final names.
    """
    target = workspace.target
    fresh = not (target / MANIFEST_NAME).exists()
    root = workspace.empty_folder("commit") if fresh else target
    _move({new.entry.name: new.folder for new in segments}, root / SEGMENTS)
    _move({path.name: path for path in deleted}, root / DELETED)
    fsync_folder(root)
    manifest.write(root / MANIFEST_NAME)
    if fresh:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.rmdir()  # empty, as was checked; Windows renames onto nothing
        os.replace(root, target)
        fsync_folder(target.parent)
    else:
        collect_garbage(target, manifest)


def collect_garbage(target: Path, current: Manifest) -> None:
    """Removes what neither the current version nor a snapshot needs.

    What a crash left behind goes with it. Files that cannot be removed (open ones, on Windows)
    stay until the next change.
    """
    kept = [current, *snapshot_manifests(target).values()]
    names = {segment.name for manifest in kept for segment in manifest.segments}
    deletions = {
        segment.deleted.path
        for manifest in kept
        for segment in manifest.segments
        if segment.deleted is not None
    }
    for folder in _items(target / SEGMENTS):
        if folder.name not in names:
            shutil.rmtree(folder, ignore_errors=True)
    for file in _items(target / DELETED):
        if f"{DELETED}/{file.name}" not in deletions:
            _remove(file)
    for file in _items(target / SNAPSHOTS):
        if file.suffix == ".tmp":
            _remove(file)


def snapshot_manifests(target: Path) -> dict[str, Manifest]:
    """Returns the manifests that are kept by name, in the order of the names.

    Raises:
        CorruptIndexError: If one is damaged; nothing may be cleared away then.
    """
    found = {}
    for path in sorted(_items(target / SNAPSHOTS)):
        if path.suffix == ".json":
            try:
                found[path.stem] = read_manifest_file(path)
            except FileNotFoundError as error:
                raise CorruptIndexError(f"{path} vanished while it was read.") from error
    return found


def _remove(file: Path) -> None:
    with suppress(OSError):
        file.unlink(missing_ok=True)


def _items(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _move(items: Mapping[str, Path], folder: Path) -> None:
    if not items:
        return
    folder.mkdir(exist_ok=True)
    for name, path in items.items():
        # What has this name is left from a crash: no manifest names it, or its number were in use.
        shutil.rmtree(folder / name, ignore_errors=True)
        os.replace(path, folder / name)
    fsync_folder(folder)
