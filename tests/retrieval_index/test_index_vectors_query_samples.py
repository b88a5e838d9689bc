"""Queries for an index whose queries nobody knows: as hard for a graph as other vectors are."""

import faiss
import numpy as np
import pytest

from retrieval_index.vectors.query_samples import sample_queries
from retrieval_index.vectors.searcher import VectorSearcher


def mixture(count, seed, latent=24, dimension=96):
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((60, latent))
    to_all = rng.standard_normal((latent, dimension))
    rng = np.random.default_rng(seed)
    points = centres[rng.integers(60, size=count)] + rng.standard_normal((count, latent))
    rows = points @ to_all + 0.1 * rng.standard_normal((count, dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def graph(rows):
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    index = faiss.index_factory(rows.shape[1], "HNSW16", faiss.METRIC_INNER_PRODUCT)
    index.add(rows)
    faiss.omp_set_num_threads(before)
    return VectorSearcher(index, "HNSW16", None, {"efSearch": 8})


def recall(searcher, queries, own=None):
    wanted = 10 if own is None else 11
    found = searcher.search(queries, wanted)[1]
    true = searcher.exact(queries, wanted)[1]
    shares = []
    for row in range(len(queries)):
        left_out = set() if own is None else {own[row]}
        shares.append(len((set(found[row]) & set(true[row])) - left_out) / 10)
    return np.mean(shares)


def test_a_graph_finds_them_as_well_as_other_vectors_and_its_own_rows_much_better():
    searcher = graph(mixture(6000, seed=1))
    numbers = np.random.default_rng(2).choice(6000, 300, replace=False)
    others = recall(searcher, mixture(300, seed=3))
    own = recall(searcher, searcher.rows_at(numbers), numbers)
    moved = recall(searcher, sample_queries(searcher, numbers, seed=0))
    assert own - others > 0.05  # what measuring with own rows would promise too much
    assert abs(moved - others) < 0.4 * (own - others)


def test_they_depend_on_the_seed_alone_and_keep_lengths():
    rows = mixture(500, seed=1) * np.linspace(1, 3, 500, dtype=np.float32)[:, None]
    searcher = graph(rows)
    numbers = np.arange(0, 500, 5)
    first = sample_queries(searcher, numbers, seed=4)
    np.testing.assert_array_equal(first, sample_queries(searcher, numbers, seed=4))
    assert not np.array_equal(first, sample_queries(searcher, numbers, seed=5))
    assert first.dtype == np.float32
    lengths = np.linalg.norm(rows[numbers], axis=1)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), lengths, rtol=1e-5)


def test_all_are_moved_as_far_and_repeated_rows_too():
    rows = np.concatenate([mixture(400, seed=1), mixture(400, seed=1)[:40]])
    numbers = np.arange(0, 440)
    moved = sample_queries(graph(rows), numbers, seed=0)
    likeness = np.einsum("ij,ij->i", moved, rows[numbers])
    np.testing.assert_allclose(likeness, likeness[0], rtol=1e-5)
    products = rows @ rows.T
    np.fill_diagonal(products, -1)
    expected = (1 + np.median(products.max(axis=1))) / 2
    assert likeness[0] == pytest.approx(expected, abs=1e-5)


def test_zero_rows_and_equal_rows_make_no_nan():
    rows = np.zeros((60, 8), np.float32)
    rows[:30, 0] = 1
    found = sample_queries(graph(rows), np.arange(60), seed=0)
    assert np.isfinite(found).all()
