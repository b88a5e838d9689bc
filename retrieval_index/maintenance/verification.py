"""Checking an index completely."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval_index.errors import CorruptIndexError
from retrieval_index.searching.opening import OPEN_ATTEMPTS
from retrieval_index.searching.segment import Segment
from retrieval_index.storage.commit import snapshot_manifests
from retrieval_index.storage.durable import FileEntry
from retrieval_index.storage.manifest import Manifest, read_manifest
from retrieval_index.storage.workspace import as_folder
from retrieval_index.vectors.structure import content_problem

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ROWS = 8192  # vectors looked at in one go, to bound the memory
LENGTH_TOLERANCE = 1e-3


def verify(path: str | os.PathLike[str]) -> dict[str, int]:
    """Reads all of an index and checks sizes, checksums, counts, offsets, postings and vectors.

    The current version and every snapshot are checked; files that they share are read once.

    Args:
        path: Folder of the index.

    Returns:
        What was checked: the numbers of `snapshots`, and of `files` and `bytes` with those that
        only snapshots need; of the current version `segments`, `documents`, `chunks` and
        `vectors`, deleted ones among the last three.

    Raises:
        IndexNotFoundError: If there is no index.
        NewerFormatError: If a newer version of this package wrote it.
        CorruptIndexError: At the first thing that is wrong.
    """
    folder = as_folder(path, "path")
    for attempt in range(OPEN_ATTEMPTS):
        manifest = read_manifest(folder)
        snapshots: dict[str, Manifest] = {}
        try:
            snapshots = snapshot_manifests(folder)
            return _verify(folder, manifest, snapshots)
        except CorruptIndexError:
            # As in `open_index`: a writer may have cleared a version away meanwhile.
            last = attempt == OPEN_ATTEMPTS - 1
            if last or (read_manifest(folder), snapshot_manifests(folder)) == (manifest, snapshots):
                raise
    raise AssertionError("unreachable")


def _verify(folder: Path, manifest: Manifest, snapshots: dict[str, Manifest]) -> dict[str, int]:
    files: set[FileEntry] = set()
    _check_version(folder, manifest, files)
    for name, kept in snapshots.items():
        try:
            _check_version(folder, kept, files)
        except CorruptIndexError as error:
            raise CorruptIndexError(f"Snapshot {name!r}: {error}") from error
    chunks = sum(entry.chunks for entry in manifest.segments)
    return {
        "snapshots": len(snapshots),
        "segments": len(manifest.segments),
        "files": len(files),
        "bytes": sum(entry.size for entry in files),
        "documents": sum(entry.documents for entry in manifest.segments),
        "chunks": chunks,
        "vectors": chunks,
    }


def _check_version(folder: Path, manifest: Manifest, read: set[FileEntry]) -> None:
    """Checks a version; files in `read` were read through already, and its others are added."""
    alive: dict[str, str] = {}
    for entry in manifest.segments:
        new = not read.issuperset(entry.files.values())
        if entry.deleted is not None and entry.deleted not in read:
            entry.deleted.check(folder)
        segment = Segment(folder, entry, manifest, checksums=new, thorough=new)
        try:
            _check_documents(folder, segment, alive)
            if new:
                _check_vectors(folder, segment, manifest.encoder.normalize)
                if segment.lexical is not None:
                    segment.lexical.verify()
        finally:
            segment.close()
        read.update(entry.all_files())


def _check_documents(folder: Path, segment: Segment, alive: dict[str, str]) -> None:
    """Checks the store, and that no id lives in two segments; `alive` is filled."""
    name, store = segment.entry.name, segment.store
    for problem in store.problems():
        raise CorruptIndexError(f"{folder}, {name}, documents: {problem}.")
    if store.count() != segment.entry.documents:
        raise CorruptIndexError(
            f"{folder}, {name} holds {store.count()} documents; the manifest says "
            f"{segment.entry.documents}."
        )
    ends = _last_characters(segment)
    number = -1
    for number, document in enumerate(store.stream()):
        if number >= len(ends) or ends[number] > len(document.text):
            raise CorruptIndexError(
                f"{folder}, {name}: a passage of document {document.id!r} ends at character "
                f"{ends[number]} of {len(document.text)}."
            )
        if segment.dead is not None and segment.dead[number]:
            continue
        if document.id in alive:
            raise CorruptIndexError(
                f"{folder}: document {document.id!r} is in {alive[document.id]} and in {name}."
            )
        alive[document.id] = name
    if number + 1 != len(ends):
        raise CorruptIndexError(
            f"{folder}, {name}: only {number + 1} of {len(ends)} documents have a number from 0 on."
        )


def _last_characters(segment: Segment) -> npt.NDArray[np.int64]:
    import numpy as np

    ends = np.zeros(segment.entry.documents, dtype=np.int64)
    np.maximum.at(ends, segment.chunks[:, 0], segment.chunks[:, 2])
    return ends


def _check_vectors(folder: Path, segment: Segment, normalize: bool) -> None:
    vectors = segment.vectors
    wrong = content_problem(vectors.index, vectors.family, segment.entry.chunks)
    if wrong is not None:
        raise CorruptIndexError(f"{folder}, {segment.entry.name}, vectors: {wrong}.")
    for first in range(0, segment.entry.chunks, ROWS):
        rows = segment.vectors.rows(first, min(ROWS, segment.entry.chunks - first))
        problem = _row_problem(rows, normalize)
        if problem is not None:
            raise CorruptIndexError(
                f"{folder}, {segment.entry.name}: among vectors from number {first} on, {problem}."
            )


def _row_problem(rows: npt.NDArray[np.float32], normalize: bool) -> str | None:
    import numpy as np

    if not np.isfinite(rows).all():
        return "one is not finite"
    if normalize:
        lengths = np.linalg.norm(rows, axis=1)
        # A zero vector stays zero: a text in which the encoder sees nothing.
        if (np.minimum(np.abs(lengths - 1), lengths) > LENGTH_TOLERANCE).any():
            return "one is not of length 1"
    return None
