"""A FAISS index made from a stream of vectors."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_index.errors import ArgumentError, RetrievalIndexError
from retrieval_index.storage.durable import fsync_file, fsync_folder
from retrieval_index.vectors.choice import IndexChoice, training_size
from retrieval_index.vectors.family import Family, make_empty, parse_factory
from retrieval_index.vectors.rows import in_blocks, load_faiss, openmp_threads

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Parts = Callable[[], Iterable[npt.NDArray[np.float32]]]

TWO_LEVELS_FROM = 8_192
# progress(stage, vectors done, vectors in all); stages: "sampling", "training", "adding", "writing"
Progress = Callable[[str, int, int], None]


def sample_rows(
    parts: Parts,
    count: int,
    dimension: int,
    family: Family,
    seed: int,
    progress: Progress | None = None,
) -> npt.NDArray[np.float32] | None:
    """Draws the rows to train on, in one pass that holds the sample and one block.

    Args:
        parts: Called for a fresh iterator of arrays of shape (n, dimension).
        count: Number of rows in all.
        dimension: Length of a row.
        family: The index to train.
        seed: Decides which rows.
        progress: Called with "sampling", rows seen, rows in all.

    Returns:
        Array of shape (training size, dimension), in the order of the rows; None if the index
        needs no training.

    Raises:
        ArgumentError: If there are more or fewer rows than `count`, or fewer than inverted lists.
    """
    import numpy as np

    size = training_size(family, count)
    if size == 0:
        return None
    if size < family.least_count:
        raise ArgumentError(
            f"{family.factory} needs at least {family.least_count:,} rows to be trained; received: "
            f"{count:,}."
        )
    chosen = np.sort(np.random.default_rng(seed).choice(count, size, replace=False))
    sample = np.empty((size, dimension), np.float32)
    first = 0
    for block in in_blocks(parts(), dimension):
        begin, end = np.searchsorted(chosen, (first, first + len(block)))
        sample[begin:end] = block[chosen[begin:end] - first]
        first += len(block)
        if progress is not None:
            progress("sampling", first, count)
    if first != count:
        raise ArgumentError(f"`count` is {count:,}, but `parts` yielded {first:,} rows.")
    return sample


def train_index(
    family: Family,
    dimension: int,
    sample: npt.NDArray[np.float32] | None,
    seed: int,
    reproducible: bool = True,
    progress: Progress | None = None,
) -> Any:
    """Returns an empty index of this kind, trained on the sample, its random parts seeded."""
    index = make_empty(family, dimension)
    _seed(index, family, seed)
    if sample is None:
        return index
    if progress is not None:
        progress("training", 0, len(sample))
    if family.coarse_graph and family.lists is not None:
        # FAISS would grow this graph with all threads, and so never twice the same.
        found = _centroids(sample, family.lists, seed)
        with openmp_threads(1 if reproducible else None):
            index.quantizer.add(found)
    index.train(sample)
    if progress is not None:
        progress("training", len(sample), len(sample))
    return index


def _seed(index: Any, family: Family, seed: int) -> None:
    """Seeds everything FAISS draws at random while it builds."""
    faiss = load_faiss()
    positive = seed % (2**31 - 1) + 1
    graphs = []
    if family.graph is not None:
        graphs.append(index.hnsw)
    if family.coarse_graph:
        graphs.append(faiss.downcast_index(index.quantizer).hnsw)
    for graph in graphs:
        graph.rng = faiss.RandomGenerator(positive)
    codebook = getattr(index, "pq", None)
    if family.graph is not None and family.codec.startswith("PQ"):
        codebook = faiss.downcast_index(index.storage).pq
    if codebook is not None:
        codebook.cp.seed = positive
        codebook.cp.min_points_per_centroid = 1
    if family.lists is not None:
        index.cp.seed = positive
        index.cp.max_points_per_centroid = 256
        # Too few vectors are refused above; few ones are not worth a line on standard error.
        index.cp.min_points_per_centroid = 1


def _centroids(sample: npt.NDArray[np.float32], count: int, seed: int) -> npt.NDArray[np.float32]:
    """Returns centroids of unit length, shape (count, dimension).

    Many are found in two levels (FAISS's contrib): 65,536 centroids compared with millions
    of vectors, ten times over, are hours on a few cores.
    """
    import numpy as np

    faiss = load_faiss()
    options = {"seed": seed % (2**31 - 1) + 1, "spherical": True, "min_points_per_centroid": 1}
    if count >= TWO_LEVELS_FROM:
        from faiss.contrib.clustering import two_level_clustering

        first = math.isqrt(count)
        found, _ = two_level_clustering(sample, first, count, clustering_niter=10, **options)
        return np.ascontiguousarray(found, dtype=np.float32)
    kmeans = faiss.Kmeans(sample.shape[1], count, niter=10, **options)
    kmeans.train(sample)
    return np.ascontiguousarray(kmeans.centroids, dtype=np.float32)


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
