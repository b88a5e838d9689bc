"""A FAISS index made from a stream of vectors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_index.errors import ArgumentError, RetrievalIndexError
from retrieval_index.storage.durable import fsync_file, fsync_folder
from retrieval_index.vectors.choice import IndexChoice
from retrieval_index.vectors.family import parse_factory
from retrieval_index.vectors.library import load_faiss
from retrieval_index.vectors.rows import in_blocks
from retrieval_index.vectors.threads import openmp_threads
from retrieval_index.vectors.training import sample_rows, train_index

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Parts = Callable[[], Iterable[npt.NDArray[np.float32]]]

# progress(stage, vectors done, vectors in all); stages: "sampling", "training", "adding", "writing"
Progress = Callable[[str, int, int], None]


def write_vectors(
    parts: Parts,
    count: int,
    dimension: int,
    choice: IndexChoice,
    path: Path,
    *,
    seed: int = 0,
    reproducible: bool = True,
    progress: Progress | None = None,
) -> None:
    """Builds an index and writes it durably; the file is whole or absent.

    Args:
        parts: Called for a fresh iterator of float32 arrays of shape (n, dimension); twice if the
            index must be trained. Rows are numbered from 0 through all of them.
        count: Number of rows in all.
        dimension: Length of a row.
        choice: The index to build.
        path: The file to write.
        seed: For the training sample, k-means, codebooks and the levels of a graph.
        reproducible: The same rows, seed and FAISS give the same search results, however the rows
            are cut into parts. A graph is then grown by one thread, as FAISS's insertion by
            several depends on their timing; k-means, codebooks and inverted lists are reproducible
            with any number. Measured for 40,000 x 384 on two cores that others used too: 6.1 s by
            one thread, 8.4 s by two; on idle cores, expect up to as many times longer as there
            are cores.
        progress: Called with what is being done now, how many rows it has done, and of how many.

    Raises:
        ArgumentError: If the rows are not as many or as long as said, or not finite.
    """
    family = parse_factory(choice.factory, dimension)
    index = train_empty(
        parts, count, dimension, choice, seed=seed, reproducible=reproducible, progress=progress
    )
    added = 0
    with openmp_threads(1 if reproducible and family.graph is not None else None):
        for block in in_blocks(parts(), dimension):
            index.add(block)
            added += len(block)
            tell(progress, "adding", added, count)
    if added != count:
        raise ArgumentError(f"`count` is {count:,}, but `parts` yielded {added:,} rows.")
    tell(progress, "writing", count, count)
    write_index(index, path)


def train_empty(
    parts: Parts,
    count: int,
    dimension: int,
    choice: IndexChoice,
    *,
    seed: int = 0,
    reproducible: bool = True,
    progress: Progress | None = None,
) -> Any:
    """Returns a trained index without vectors, the same for the same rows and seed.

    For a build in several places: write it with `write_index`, fill copies of it with `add_part`,
    and put them together with `merge_vectors`.

    Args:
        parts: As in `write_vectors`; not called if the index needs no training.
        count: Number of rows in all.
        dimension: Length of a row.
        choice: The index to make.
        seed: As in `write_vectors`.
        reproducible: As in `write_vectors`.
        progress: As in `write_vectors`.

    Returns:
        The FAISS index.
    """
    family = parse_factory(choice.factory, dimension)
    sample = sample_rows(parts, count, dimension, family, seed, progress)
    return train_index(family, dimension, sample, seed, reproducible, progress)


def write_index(index: Any, path: Path) -> None:
    """Writes a FAISS index so that a crash leaves no part of it under its name.

    Raises:
        RetrievalIndexError: If the file cannot be written, such as on a full disk.
    """
    faiss = load_faiss()
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        faiss.write_index(index, str(temporary))
        fsync_file(temporary)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, (RuntimeError, OSError)):
            raise RetrievalIndexError(f"{path} cannot be written: {error}") from error
        raise
    os.replace(temporary, path)
    fsync_folder(path.parent)


def tell(progress: Progress | None, stage: str, done: int, total: int) -> None:
    """Calls `progress` if there is one."""
    if progress is not None:
        progress(stage, done, total)
