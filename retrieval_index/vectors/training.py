"""The sample an index is trained on, and the training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from retrieval_index.errors import ArgumentError
from retrieval_index.vectors.family import Family, make_empty
from retrieval_index.vectors.library import load_faiss
from retrieval_index.vectors.rows import in_blocks
from retrieval_index.vectors.sizing import training_size
from retrieval_index.vectors.threads import openmp_threads

TWO_LEVELS_FROM = 8_192

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from retrieval_index.vectors.filling import Parts, Progress


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
