"""Several indexes made into one: the rows of all, in order, found as in one build."""

from itertools import pairwise

import numpy as np
import pytest
from vectors_samples import (
    COUNT,
    DIMENSION,
    INVERTED,
    KINDS,
    build_index,
    clustered,
    nearest,
    parts_of,
    recall_of,
)

from retrieval_index.errors import ArgumentError, CorruptIndexError, RetrievalIndexError
from retrieval_index.vectors.choice import choose_index
from retrieval_index.vectors.filling import train_empty, write_index, write_vectors
from retrieval_index.vectors.merging import (
    add_part,
    can_join,
    join_indexes,
    merge_vectors,
    merged_rows,
)
from retrieval_index.vectors.reading import read_vectors
from retrieval_index.vectors.searcher import VectorSearcher

ROWS = clustered(COUNT)
QUERIES = clustered(30, seed=1)
CUTS = (0, 1300, 1301, 4000, COUNT)


def open_rows(path, choice, rows):
    index = read_vectors(path, choice.factory, len(rows), DIMENSION, thorough=True)
    return VectorSearcher(index, choice.factory, rows)


def trained_parts(folder, choice):
    """One index trained on all rows, and copies of it with some of them."""
    trained = folder / "trained.faiss"
    write_index(train_empty(parts_of(ROWS), COUNT, DIMENSION, choice), trained)
    searchers = []
    for number, (first, last) in enumerate(pairwise(CUTS)):
        path = folder / f"part-{number}.faiss"
        assert add_part(trained, [ROWS[first:last]], DIMENSION, choice, path) == last - first
        searchers.append(open_rows(path, choice, ROWS[first:last]))
    return searchers


@pytest.mark.parametrize("kind", INVERTED)
def test_parts_filled_apart_are_the_index_built_at_once(kind, tmp_path):
    choice = choose_index(COUNT, DIMENSION, factory=kind)
    searchers = trained_parts(tmp_path, choice)
    before = [searcher.search(QUERIES, 3)[1] for searcher in searchers[2:]]
    assert merge_vectors([(s, None) for s in searchers], choice, tmp_path / "all.faiss")
    write_vectors(parts_of(ROWS), COUNT, DIMENSION, choice, tmp_path / "once.faiss")
    merged = open_rows(tmp_path / "all.faiss", choice, ROWS)
    once = open_rows(tmp_path / "once.faiss", choice, ROWS)
    for parameters in (None, dict.fromkeys(once.parameters, 1)):
        first = once.with_parameters(parameters).search(QUERIES, 10)
        second = merged.with_parameters(parameters).search(QUERIES, 10)
        np.testing.assert_array_equal(first[1], second[1])
        np.testing.assert_array_equal(first[0], second[0])
    # The parts are as they were: FAISS's own merge empties them.
    assert [s.index.ntotal for s in searchers] == [1300, 1, 2699, 1000]
    for searcher, found in zip(searchers[2:], before, strict=True):
        np.testing.assert_array_equal(searcher.search(QUERIES, 3)[1], found)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_not_kept_are_gone_and_the_others_found(kind, tmp_path):
    first = build_index(tmp_path, ROWS[:3000], kind, name="first")
    second = build_index(tmp_path, ROWS[3000:], kind, name="second")
    keep = np.random.default_rng(0).random(3000) < 0.7
    choice = choose_index(COUNT, DIMENSION, factory=kind)
    assert not merge_vectors([(first, keep), (second, None)], choice, tmp_path / "all.faiss")
    rows = np.concatenate([ROWS[:3000][keep], ROWS[3000:]])
    np.testing.assert_array_equal(
        np.concatenate(list(merged_rows([(first, keep), (second, None)]))), rows
    )
    merged = open_rows(tmp_path / "all.faiss", choice, rows)
    assert recall_of(merged.search(QUERIES, 10)[1], nearest(rows, QUERIES, 10)[1]) >= 0.95
    np.testing.assert_array_equal(merged.rows(2000, 500), rows[2000:2500])


def test_indexes_of_different_kinds_become_one(tmp_path):
    sources = [
        (build_index(tmp_path, ROWS[:2000], "Flat", name="first"), None),
        (build_index(tmp_path, ROWS[2000:], "IVF64,SQ8", name="second"), None),
    ]
    choice = choose_index(COUNT, DIMENSION)
    assert not merge_vectors(sources, choice, tmp_path / "all.faiss")
    merged = open_rows(tmp_path / "all.faiss", choice, ROWS)
    np.testing.assert_array_equal(merged.search(QUERIES, 9)[1], nearest(ROWS, QUERIES, 9)[1])


def test_lists_trained_apart_are_never_joined(tmp_path):
    first = build_index(tmp_path, ROWS[:2500], "IVF64,SQ8", name="first")
    second = build_index(tmp_path, ROWS[2500:], "IVF64,SQ8", name="second")
    choice = choose_index(COUNT, DIMENSION, factory="IVF64,SQ8")
    assert not can_join([first.index, second.index], choice.factory)
    with pytest.raises(ArgumentError, match="number 1 has other centroids"):
        join_indexes([first.index, second.index], choice, tmp_path / "all.faiss")
    assert not (tmp_path / "all.faiss").exists()
    assert not merge_vectors([(first, None), (second, None)], choice, tmp_path / "all.faiss")


def test_what_cannot_be_joined_is_refused(tmp_path):
    flat = build_index(tmp_path, ROWS, "Flat")
    choice = choose_index(COUNT, DIMENSION, factory="Flat")
    with pytest.raises(ArgumentError, match="with inverted lists"):
        join_indexes([flat.index], choice, tmp_path / "all.faiss")
    with pytest.raises(ArgumentError, match="at least one"):
        join_indexes([], choice, tmp_path / "all.faiss")
    with pytest.raises(ArgumentError, match="at least one row"):
        merge_vectors([(flat, np.zeros(COUNT, bool))], choice, tmp_path / "all.faiss")
    with pytest.raises(ArgumentError, match="rows to keep must be bool"):
        merge_vectors([(flat, np.arange(3))], choice, tmp_path / "all.faiss")
    other = build_index(tmp_path, ROWS[:, :16].copy(), "Flat", name="other")
    with pytest.raises(ArgumentError, match=r"one dimension; received: \[16, 32\]"):
        merge_vectors([(flat, None), (other, None)], choice, tmp_path / "all.faiss")


def test_a_part_is_added_only_to_a_trained_and_empty_index(tmp_path):
    choice = choose_index(COUNT, DIMENSION, factory="IVF64,SQ8")
    build_index(tmp_path, ROWS, "IVF64,SQ8", name="full")
    build_index(tmp_path, ROWS, "Flat", name="flat")
    for name in ("full", "flat"):
        with pytest.raises(CorruptIndexError, match="no trained, empty IVF64,SQ8"):
            add_part(tmp_path / f"{name}.faiss", [ROWS], DIMENSION, choice, tmp_path / "out")
    with pytest.raises(CorruptIndexError, match="cannot be read"):
        add_part(tmp_path / "absent", [ROWS], DIMENSION, choice, tmp_path / "out")


def test_progress_tells_every_stage(tmp_path):
    told = []
    choice = choose_index(COUNT, DIMENSION, factory="IVF64,SQ8")
    write_vectors(
        parts_of(ROWS, 2000), COUNT, DIMENSION, choice, tmp_path / "all.faiss",
        progress=lambda stage, done, total: told.append((stage, done, total)),
    )  # fmt: skip
    assert [stage for stage, _, _ in told] == [
        "sampling", "training", "training", "adding", "writing"
    ]  # fmt: skip
    assert ("adding", COUNT, COUNT) in told


@pytest.mark.parametrize("count", [COUNT - 1, COUNT + 1])
@pytest.mark.parametrize("kind", ["Flat", "IVF64,SQ8"])
def test_a_wrong_count_is_refused_and_nothing_written(count, kind, tmp_path):
    choice = choose_index(COUNT, DIMENSION, factory=kind)
    with pytest.raises(ArgumentError, match="yielded 5,000 rows"):
        write_vectors(parts_of(ROWS), count, DIMENSION, choice, tmp_path / "all.faiss")
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_a_named_error(tmp_path):
    choice = choose_index(COUNT, DIMENSION)
    with pytest.raises(RetrievalIndexError, match="cannot be written"):
        write_vectors(parts_of(ROWS), COUNT, DIMENSION, choice, tmp_path / "no" / "all.faiss")


def test_two_level_centroids_are_unit_vectors_and_reproducible():
    from retrieval_index.vectors import filling

    sample = clustered(3000)
    old, filling.TWO_LEVELS_FROM = filling.TWO_LEVELS_FROM, 64
    try:
        first, second = (filling._centroids(sample, 100, 3) for _ in range(2))
    finally:
        filling.TWO_LEVELS_FROM = old
    assert first.shape == (100, DIMENSION)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-5)
