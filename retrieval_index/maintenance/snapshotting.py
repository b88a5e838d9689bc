"""Versions that are kept by name."""

from __future__ import annotations

import os
import re
from typing import Any

from retrieval_index.errors import ArgumentError, IndexNotFoundError
from retrieval_index.maintenance.changing import changing, next_version
from retrieval_index.storage.commit import collect_garbage, snapshot_manifests
from retrieval_index.storage.durable import fsync_folder
from retrieval_index.storage.manifest import MANIFEST_NAME, read_manifest
from retrieval_index.storage.segment_files import SNAPSHOTS
from retrieval_index.storage.workspace import as_folder

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def snapshot(path: str | os.PathLike[str], name: str) -> None:
    """Keeps the current version under a name.

    It costs no copy: the files of the version are kept until the snapshot is dropped, also those
    of documents that are deleted later. `retrieval_index.open(path, snapshot=name)` opens it.

    Args:
        path: Folder of the index.
        name: Letters, digits, ".", "_" and "-", at most 100, and no snapshot's yet.

    Raises:
        ArgumentError: If the name is malformed or taken.
        IndexNotFoundError: If there is no index.
        BuildLockedError: If another process changes the index.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ArgumentError(
            "`name` must be up to 100 letters, digits, '.', '_' and '-', beginning with a letter "
            f"or digit; received: {name!r}."
        )
    with changing(path) as change:
        if name in snapshot_manifests(change.folder):
            raise ArgumentError(f"`name`: there is a snapshot {name!r} already. Drop it first.")
        folder = change.folder / SNAPSHOTS
        folder.mkdir(exist_ok=True)
        fsync_folder(change.folder)
        change.manifest.write(folder / f"{name}.json")


def snapshots(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Returns the snapshots of an index: name, version, changed, documents and chunks of each.

    Raises:
        IndexNotFoundError: If there is no index.
    """
    folder = as_folder(path, "path")
    read_manifest(folder)
    return [
        {
            "name": name,
            "version": manifest.version,
            "changed": manifest.changed,
            "documents": manifest.documents,
            "chunks": manifest.chunks,
        }
        for name, manifest in snapshot_manifests(folder).items()
    ]


def restore(path: str | os.PathLike[str], name: str) -> None:
    """Makes a snapshot the current version again; the snapshot stays.

    Args:
        path: Folder of the index.
        name: Name of the snapshot.

    Raises:
        IndexNotFoundError: If there is no index, or no such snapshot.
        BuildLockedError: If another process changes the index.
    """
    with changing(path) as change:
        wanted = _known(change.folder, name)
        manifest = next_version(
            change.manifest,
            "restore",
            **{
                key: getattr(wanted, key)
                for key in ("segments", "options", "search", "report", "lexical", "chunker")
            },
            encoder=wanted.encoder,
            next_segment=change.manifest.next_segment,
        )
        manifest.write(change.folder / MANIFEST_NAME)
        collect_garbage(change.folder, manifest)


def drop_snapshot(path: str | os.PathLike[str], name: str) -> None:
    """Forgets a snapshot; files that nothing else needs are removed.

    Args:
        path: Folder of the index.
        name: Name of the snapshot.

    Raises:
        IndexNotFoundError: If there is no index, or no such snapshot.
        BuildLockedError: If another process changes the index.
    """
    with changing(path) as change:
        _known(change.folder, name)
        (change.folder / SNAPSHOTS / f"{name}.json").unlink()
        fsync_folder(change.folder / SNAPSHOTS)
        collect_garbage(change.folder, change.manifest)


def _known(folder: Any, name: str) -> Any:
    found = snapshot_manifests(folder)
    if name not in found:
        names = ", ".join(found) or "there are none"
        raise IndexNotFoundError(
            f"`name` must be a snapshot of {folder} ({names}); received: {name!r}."
        )
    return found[name]
