"""Checking an index completely."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_index.errors import CorruptIndexError
from retrieval_index.storage.document_store import DocumentStore
from retrieval_index.storage.manifest import DOCUMENTS, VECTORS, Manifest, read_manifest
from retrieval_index.storage.vectors import read_vectors

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ROWS = 8192  # vectors looked at in one go, to bound the memory
LENGTH_TOLERANCE = 1e-3


def verify(path: str | os.PathLike[str]) -> dict[str, int]:
    """Reads all of an index and checks sizes, checksums, counts, offsets and vectors.

    Args:
        path: Folder of the index.

    Returns:
        What was checked: the numbers of `files`, `bytes`, `documents`, `chunks` and `vectors`.

    Raises:
        IndexNotFoundError: If there is no index.
        NewerFormatError: If a newer version of this package wrote it.
        CorruptIndexError: At the first thing that is wrong.
    """
    folder = Path(path).expanduser().resolve()
    manifest = read_manifest(folder)
    for entry in manifest.files.values():
        entry.check(folder)
    _check_documents(folder, manifest)
    _check_vectors(folder, manifest)
    return {
        "files": len(manifest.files),
        "bytes": sum(entry.size for entry in manifest.files.values()),
        "documents": manifest.documents,
        "chunks": manifest.chunks,
        "vectors": manifest.chunks,
    }


def _check_documents(folder: Path, manifest: Manifest) -> None:
    file = folder / manifest.files[DOCUMENTS].path
    store = DocumentStore(file)
    try:
        if store.counts() != (manifest.documents, manifest.chunks):
            raise CorruptIndexError(
                f"{file} holds (documents, chunks) {store.counts()}; the manifest says "
                f"{(manifest.documents, manifest.chunks)}."
            )
        problem = next(store.problems(), None)
    finally:
        store.close()
    if problem is not None:
        raise CorruptIndexError(f"{file}: {problem}.")


def _check_vectors(folder: Path, manifest: Manifest) -> None:
    file = folder / manifest.files[VECTORS].path
    dimension = manifest.encoder["dimension"]
    index = read_vectors(file, manifest.faiss["factory"], manifest.chunks, dimension)
    for first in range(0, manifest.chunks, ROWS):
        rows = index.reconstruct_n(first, min(ROWS, manifest.chunks - first))
        problem = _row_problem(rows, manifest.encoder)
        if problem is not None:
            raise CorruptIndexError(f"{file}: among vectors from number {first} on, {problem}.")


def _row_problem(rows: npt.NDArray[np.float32], encoder: dict[str, Any]) -> str | None:
    import numpy as np

    if not np.isfinite(rows).all():
        return "one is not finite"
    if encoder["normalize"]:
        lengths = np.linalg.norm(rows, axis=1)
        # A zero vector stays zero: a text in which the encoder sees nothing.
        if (np.minimum(np.abs(lengths - 1), lengths) > LENGTH_TOLERANCE).any():
            return "one is not of length 1"
    return None
