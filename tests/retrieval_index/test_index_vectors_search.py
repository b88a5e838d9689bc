"""Search: right scores, enough recall, k results where k exist, the same for the same seed."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from vectors_samples import (
    COUNT,
    DIMENSION,
    KINDS,
    build_index,
    clustered,
    nearest,
    parts_of,
    recall_of,
)

from retrieval_index.errors import ArgumentError, CorruptIndexError
from retrieval_index.vectors.choice import choose_index
from retrieval_index.vectors.filling import write_vectors
from retrieval_index.vectors.parameters import Setting, faiss_parameters
from retrieval_index.vectors.reading import read_vectors
from retrieval_index.vectors.rows import RowMask
from retrieval_index.vectors.searcher import VectorSearcher

ROWS = clustered(COUNT)
QUERIES = clustered(40, seed=1)


@pytest.fixture(scope="module")
def searchers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vectors")
    return {
        kind: build_index(folder, ROWS, kind, name=str(number)) for number, kind in enumerate(KINDS)
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [1.0, 0.95, 0.3, 0.05, 0.004, 0.0])
def test_recall_scores_and_number_of_results_with_and_without_a_mask(searchers, kind, share):
    allowed = np.random.default_rng(2).random(COUNT) < share
    truth_scores, truth = nearest(ROWS, QUERIES, 30, allowed)
    scores, numbers = searchers[kind].search(QUERIES, 30, None if share == 1 else allowed)
    assert (scores.dtype, numbers.dtype) == (np.float32, np.int64)
    assert ((numbers >= 0) == (truth >= 0)).all()
    assert (np.isneginf(scores) == (numbers < 0)).all()
    there = numbers >= 0
    assert allowed[numbers[there]].all()
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in numbers)
    exact = np.take_along_axis(QUERIES @ ROWS.T, np.maximum(numbers, 0), 1)
    np.testing.assert_allclose(scores[there], exact[there], atol=2e-6)
    assert (scores[:, 1:] <= scores[:, :-1]).all()
    if there.any():
        assert recall_of(numbers[:, :10], truth[:, :10]) >= 0.95
        np.testing.assert_allclose(scores[:, 0], truth_scores[:, 0], atol=0.05)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [1.0, 0.9, 0.01])
@pytest.mark.parametrize("queries", [3, 40])
def test_exact_search_is_exact(searchers, kind, share, queries):
    allowed = np.random.default_rng(3).random(COUNT) < share
    truth_scores, truth = nearest(ROWS, QUERIES[:queries], 12, allowed)
    scores, numbers = searchers[kind].exact(QUERIES[:queries], 12, allowed)
    np.testing.assert_array_equal(numbers, truth)
    np.testing.assert_allclose(scores, truth_scores, atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_narrowest_search_still_returns_k_results(searchers, kind):
    names = searchers[kind].parameters
    narrow = searchers[kind].with_parameters(dict.fromkeys(names, 1))
    for k in (10, 2000, COUNT, COUNT + 5):
        scores, numbers = narrow.search(QUERIES[:3], k)
        assert (numbers[:, : min(k, COUNT)] >= 0).all()
        assert scores.shape == numbers.shape == (3, k)
    # Rows far from the query: the lists and links near it lead to none of them.
    order = np.argsort(-(QUERIES[0] @ ROWS.T))
    allowed = np.zeros(COUNT, bool)
    allowed[order[COUNT // 2 :]] = True
    _, numbers = narrow.search(QUERIES[:1], 20, allowed)
    assert allowed[numbers].all()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_come_back_as_they_were_added(searchers, kind):
    searcher = searchers[kind]
    np.testing.assert_array_equal(searcher.rows(100, 50), ROWS[100:150])
    np.testing.assert_array_equal(searcher.rows_at([4999, 0, 7, 7]), ROWS[[4999, 0, 7, 7]])
    assert searcher.rows(0, 0).shape == (0, DIMENSION)
    for wrong in ((-1, 2), (4999, 2), (0, -1)):
        with pytest.raises(ArgumentError, match="`first`, `count`"):
            searcher.rows(*wrong)
    for numbers in ([5000], [-1], [[1]]):
        with pytest.raises(ArgumentError, match="`numbers`"):
            searcher.rows_at(numbers)


@pytest.mark.parametrize("kind", ["HNSW16,SQ8", "IVF64_HNSW8,Flat", "IVF64,PQ16x4fs"])
def test_threads_with_different_masks_do_not_disturb_each_other(searchers, kind):
    masks = [np.random.default_rng(seed).random(COUNT) < 0.5 for seed in range(8)]
    alone = [searchers[kind].search(QUERIES, 10, mask)[1] for mask in masks]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda mask: searchers[kind].search(QUERIES, 10, mask)[1], masks * 4))
    for number, result in enumerate(found):
        np.testing.assert_array_equal(result, alone[number % 8])


def test_a_mask_made_once_answers_like_an_array(searchers):
    allowed = np.random.default_rng(4).random(COUNT) < 0.4
    mask = RowMask(allowed)
    assert (mask.count, len(mask)) == (allowed.sum(), COUNT)
    for kind in ("Flat", "HNSW16", "IVF64,SQ8"):
        for _ in range(2):
            np.testing.assert_array_equal(
                searchers[kind].search(QUERIES, 5, mask)[1],
                searchers[kind].search(QUERIES, 5, allowed)[1],
            )


def test_nothing_is_set_on_the_index(searchers):
    hnsw, ivf = searchers["HNSW16"], searchers["IVF64,SQ8"]
    hnsw.with_parameters({"efSearch": 77}).search(QUERIES, 3)
    ivf.with_parameters({"nprobe": 33}).search(QUERIES, 3)
    assert (hnsw.index.hnsw.efSearch, ivf.index.nprobe) == (16, 1)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "Flat"])
@pytest.mark.parametrize("cuts", [(1, 4000), (2500,)])
def test_the_same_rows_and_seed_give_the_same_results_in_any_parts(searchers, kind, cuts, tmp_path):
    choice = choose_index(COUNT, DIMENSION, factory=kind)
    path = tmp_path / "again.faiss"
    write_vectors(parts_of(ROWS, *cuts), COUNT, DIMENSION, choice, path)
    again = VectorSearcher(read_vectors(path, kind, COUNT, DIMENSION), kind, ROWS)
    for first, second in zip(
        searchers[kind].search(QUERIES, 10), again.search(QUERIES, 10), strict=True
    ):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("kind", ["HNSW16", "IVF64,Flat"])
def test_another_seed_gives_another_index(searchers, kind, tmp_path):
    other = build_index(tmp_path, ROWS, kind, seed=5)
    narrow = dict.fromkeys(other.parameters, 1)
    first = searchers[kind].with_parameters(narrow).search(QUERIES, 10)[1]
    assert (first != other.with_parameters(narrow).search(QUERIES, 10)[1]).any()


def test_a_mapped_file_may_move_and_vanish_while_it_is_read(tmp_path):
    searcher = build_index(tmp_path, ROWS, "IVF64,SQ8")
    before = searcher.search(QUERIES, 10)[1]
    (tmp_path / "vectors.faiss").unlink()
    np.testing.assert_array_equal(searcher.search(QUERIES, 10)[1], before)


def test_arguments_are_checked(searchers):
    flat, lossy = searchers["Flat"], searchers["IVF64,SQ8"]
    with pytest.raises(ArgumentError, match=r"`queries` must be numbers of shape \(n, 32\)"):
        flat.search(QUERIES[:, :5], 3)
    with pytest.raises(ArgumentError, match="`queries` must be finite"):
        flat.search(np.full((1, DIMENSION), np.inf, np.float32), 3)
    with pytest.raises(ArgumentError, match="`k` must be at least 1"):
        flat.search(QUERIES, 0)
    with pytest.raises(ArgumentError, match=r"`allowed` must be of shape \(5000,\)"):
        flat.search(QUERIES, 3, np.ones(7, bool))
    with pytest.raises(ArgumentError, match="`allowed` must be bool"):
        flat.search(QUERIES, 3, np.ones(COUNT))
    with pytest.raises(ArgumentError, match="`parameters` of Flat are: none; received: 'nprobe'"):
        flat.with_parameters({"nprobe": 3})
    with pytest.raises(ArgumentError, match="at least 1"):
        lossy.with_parameters({"nprobe": 0})
    with pytest.raises(ArgumentError, match="`raw` must be given"):
        VectorSearcher(lossy.index, "IVF64,SQ8")
    with pytest.raises(ArgumentError, match="`raw` must be float32 of shape"):
        VectorSearcher(lossy.index, "IVF64,SQ8", ROWS[:-1])
    scores, numbers = flat.search(QUERIES[:0], 3)
    assert scores.shape == numbers.shape == (0, 3)


@pytest.mark.parametrize("kind", ["IVF64,Flat", "IVF64,SQ8"])
def test_a_row_number_outside_the_index_is_an_error_and_no_crash(kind, tmp_path):
    import faiss

    choice = choose_index(COUNT, DIMENSION, factory=kind)
    index = faiss.index_factory(DIMENSION, kind, faiss.METRIC_INNER_PRODUCT)
    index.train(ROWS)
    index.add_with_ids(ROWS, np.arange(COUNT) + 10**9)
    broken = VectorSearcher(index, choice.factory, ROWS)
    with pytest.raises(CorruptIndexError, match="of 5000 rows"):
        broken.search(QUERIES, 10)


def test_the_search_parameters_are_those_of_faiss(searchers):
    mask = RowMask(np.ones(COUNT, bool))
    ivf = faiss_parameters(searchers["IVF64_HNSW8,SQ8"].family, Setting(7, 2, 50), mask)
    assert (ivf.nprobe, type(ivf).__name__) == (7, "SearchParametersIVF")
    assert ivf.quantizer_params is not None and ivf.sel is not None
    hnsw = faiss_parameters(searchers["HNSW16"].family, Setting(70), None)
    assert (hnsw.efSearch, hnsw.sel) == (70, None)
