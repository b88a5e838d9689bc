"""Clustered vectors and finished indexes for the tests of retrieval_index.vectors."""

from __future__ import annotations

import faiss
import numpy as np

from retrieval_index.vectors.choice import choose_index
from retrieval_index.vectors.filling import write_vectors
from retrieval_index.vectors.reading import read_raw, read_vectors, write_raw
from retrieval_index.vectors.searcher import VectorSearcher

# Threads of FAISS wait for each other by spinning: ten times slower where cores are shared.
faiss.omp_set_num_threads(1)

DIMENSION = 32
COUNT = 5000
# One of every kind; PQ codebooks of 8 bits take seconds to train and have a test of their own.
KINDS = [
    "Flat",
    "SQ8",
    "SQfp16",
    "HNSW16",
    "HNSW16,SQ8",
    "IVF64,Flat",
    "IVF64,SQ8",
    "IVF64_HNSW8,Flat",
    "IVF64_HNSW8,SQ8",
    "IVF64,PQ8x4np",
    "IVF64,PQ16x4fs",
    "IVF64,RaBitQ",
    "IVF64,RaBitQ4",
    "IVF64,RaBitQfs",
    "IVF64,RaBitQfs4",
]
INVERTED = [kind for kind in KINDS if kind.startswith("IVF")]


def clustered(count, seed=0, dimension=DIMENSION, clusters=25, spread=0.9):
    """Unit vectors around a few centres that are the same for every seed."""
    centres = np.random.default_rng(99).normal(size=(clusters, dimension))
    generator = np.random.default_rng(seed)
    rows = centres[generator.integers(clusters, size=count)]
    rows = rows + spread * generator.normal(size=(count, dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def parts_of(rows, *sizes):
    """A callable that yields the rows in parts of these sizes, and then the rest."""
    return lambda: iter(np.split(rows, np.cumsum(sizes)))


def build_index(folder, rows, factory, parameters=None, name="vectors", **options):
    """Writes and opens an index; returns its searcher."""
    count, dimension = rows.shape
    choice = choose_index(count, dimension, factory=factory)
    path = folder / f"{name}.faiss"
    write_vectors(parts_of(rows), count, dimension, choice, path, **options)
    raw = None
    if choice.lossy:
        write_raw([rows], dimension, folder / f"{name}.f32")
        raw = read_raw(folder / f"{name}.f32", count, dimension)
    index = read_vectors(path, choice.factory, count, dimension)
    return VectorSearcher(index, choice.factory, raw, parameters)


def nearest(rows, queries, k, allowed=None):
    """The truth by NumPy: scores (n, k) and numbers (n, k), padded with -inf and -1."""
    scores = queries.astype(np.float64) @ rows.astype(np.float64).T
    if allowed is not None:
        scores[:, ~allowed] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(scores, order, 1)
    order[found == -np.inf] = -1
    missing = k - order.shape[1]
    return (
        np.pad(found, ((0, 0), (0, missing)), constant_values=-np.inf),
        np.pad(order, ((0, 0), (0, missing)), constant_values=-1),
    )


def recall_of(found, truth):
    """Share of the true numbers found."""
    wanted = truth >= 0
    hits = (truth[:, :, None] == found[:, None, :]).any(2) & wanted
    return hits.sum() / wanted.sum()
