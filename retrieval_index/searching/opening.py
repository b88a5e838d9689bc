"""Opening an index for searching."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval_index.errors import CorruptIndexError, IndexNotFoundError
from retrieval_index.searching.index import Index
from retrieval_index.searching.segment import Segment
from retrieval_index.storage.commit import snapshot_manifests
from retrieval_index.storage.manifest import Manifest, read_manifest
from retrieval_index.storage.workspace import as_folder

if TYPE_CHECKING:
    from retrieval_index.encoders.protocol import Encoder

OPEN_ATTEMPTS = 5


def open_index(
    path: str | os.PathLike[str],
    encoder: str | Encoder | None = None,
    *,
    snapshot: str | None = None,
    checksums: bool = True,
) -> Index:
    """Opens an index for searching.

    Args:
        path: Folder of the index.
        encoder: The encoder of the index, or its name. Default: found by the name in the manifest
            at the first search. An index of unknown origin may name any model.
        snapshot: Name of a snapshot; None: the current version.
        checksums: Whether all files are read through once and compared with their SHA-256. Without
            it only their sizes are, and FAISS may crash on a file that was damaged.

    Returns:
        The open index.

    Raises:
        IndexNotFoundError: If there is no index, or no such snapshot.
        CorruptIndexError: If a file of it is damaged or missing.
        NewerFormatError: If a newer version of this package wrote it.
        EncoderMismatchError: If the encoder is not the one of the index.
    """
    folder = as_folder(path, "path")
    manifest = _manifest(folder, snapshot)
    for _ in range(OPEN_ATTEMPTS):
        try:
            return open_manifest(folder, manifest, encoder, checksums)
        except CorruptIndexError:
            # A change may have replaced the version between the two reads, and its files be gone.
            # If it did not, they are damaged indeed.
            newer = _manifest(folder, snapshot)
            if newer.build_id == manifest.build_id:
                raise
            manifest = newer
    raise IndexNotFoundError(f"`path` {folder} is being changed too often to be opened.")


def open_manifest(
    folder: Path,
    manifest: Manifest,
    encoder: str | Encoder | None = None,
    checksums: bool = True,
) -> Index:
    """Opens the version that a manifest describes; as `open_index` otherwise."""
    segments: list[Segment] = []
    try:
        for entry in manifest.segments:
            segments.append(Segment(folder, entry, manifest, checksums))
        return Index(folder, manifest, segments, encoder)
    except BaseException:
        for segment in segments:
            segment.close()
        raise


def _manifest(folder: Path, snapshot: str | None) -> Manifest:
    current = read_manifest(folder)
    if snapshot is None:
        return current
    known = snapshot_manifests(folder)
    if snapshot not in known:
        names = ", ".join(known) or "there are none"
        raise IndexNotFoundError(
            f"`snapshot` must be one of those of {folder} ({names}); received: {snapshot!r}."
        )
    return known[snapshot]
