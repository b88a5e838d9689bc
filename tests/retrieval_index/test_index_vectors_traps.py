"""What FAISS does silently, held here so that a new version that does otherwise is noticed.

Each trap is shown on FAISS itself, and then that nothing of this package walks into it.
"""

import faiss
import numpy as np
import pytest
from vectors_samples import COUNT, DIMENSION, build_index, clustered, nearest, recall_of

from retrieval_index.errors import ArgumentError
from retrieval_index.vectors.choice import choose_index
from retrieval_index.vectors.family import make_empty, parse_factory
from retrieval_index.vectors.reading import io_flags
from retrieval_index.vectors.tuning import tune

ROWS = clustered(COUNT)
QUERIES = clustered(50, seed=1)
TRUTH = nearest(ROWS, QUERIES, 10)[1]
HALF = COUNT // 2


def trained(factory):
    index = faiss.index_factory(DIMENSION, factory, faiss.METRIC_INNER_PRODUCT)
    index.train(ROWS)
    return index


def recall(index, **parameters):
    for name, value in parameters.items():
        faiss.ParameterSpace().set_index_parameter(index, name, value)
    return recall_of(index.search(QUERIES, 10)[1], TRUTH)


def test_merging_a_refined_index_loses_half_of_it():
    factory = "IVF16,PQ16x4fs,RFlat"
    whole = trained(factory)
    first, second = faiss.clone_index(whole), faiss.clone_index(whole)
    whole.add(ROWS)
    first.add(ROWS[:HALF])
    second.add(ROWS[HALF:])
    with pytest.raises(RuntimeError):
        first.merge_from(second)
    faiss.merge_into(first, second, True)  # says nothing
    assert recall(whole, nprobe=16, k_factor_rf=8) > 0.95
    assert first.refine_index.ntotal == HALF
    with pytest.raises(ArgumentError, match="merges a refined index without"):
        choose_index(COUNT, DIMENSION, factory=factory)


def test_merging_lists_with_numbers_of_their_own_mixes_them_up():
    factory = "IDMap2,IVF16,SQ8"
    whole = trained(factory)
    first, second = faiss.clone_index(whole), faiss.clone_index(whole)
    whole.add_with_ids(ROWS, np.arange(COUNT))
    first.add_with_ids(ROWS[:HALF], np.arange(HALF))
    second.add_with_ids(ROWS[HALF:], np.arange(HALF, COUNT))
    first.merge_from(second)  # says nothing
    assert first.ntotal == COUNT
    assert recall(whole, nprobe=16) > 0.95
    assert recall(first, nprobe=16) < 0.7
    with pytest.raises(ArgumentError, match="colliding numbers"):
        choose_index(COUNT, DIMENSION, factory=factory)


def test_refinement_does_nothing_unless_told_how_many_candidates():
    index = trained("IVF16,PQ8x4fs,RFlat")
    index.add(ROWS)
    bare = faiss.downcast_index(index.base_index)
    assert recall(index, nprobe=16) == recall(bare, nprobe=16) < 0.9
    assert recall(index, nprobe=16, k_factor_rf=16) > recall(bare, nprobe=16) + 0.1


def test_candidates_scored_again_have_a_default_above_one(tmp_path):
    searcher = build_index(tmp_path, ROWS, "IVF16,PQ8x4fs")
    every = {"nprobe": 16}
    assert searcher.with_parameters(every).parameters["k_factor"] > 1
    one = searcher.with_parameters({**every, "k_factor": 1}).search(QUERIES, 10)[1]
    usual = searcher.with_parameters(every).search(QUERIES, 10)[1]
    assert recall_of(usual, TRUTH) > recall_of(one, TRUTH) + 0.1


@pytest.mark.parametrize("factory", ["IVF16,PQ8", "IVF16,PQ8x6", "HNSW16,PQ8"])
def test_product_codes_are_built_without_polysemous_training(factory):
    def polysemous(index):
        inner = faiss.downcast_index(index.storage) if hasattr(index, "storage") else index
        return inner.do_polysemous_training

    assert polysemous(faiss.index_factory(DIMENSION, factory, faiss.METRIC_INNER_PRODUCT))
    choice = choose_index(COUNT, DIMENSION, factory=factory)
    assert choice.factory == f"{factory}np"
    assert not polysemous(make_empty(parse_factory(factory, DIMENSION), DIMENSION))


def test_flags_that_map_a_file_cannot_be_combined(tmp_path):
    searcher = build_index(tmp_path, ROWS, "IVF16,SQ8")
    path = str(tmp_path / "vectors.faiss")
    with pytest.raises(RuntimeError):
        faiss.read_index(path, faiss.IO_FLAG_MMAP | faiss.IO_FLAG_MMAP_IFC)
    assert io_flags(searcher.family) == faiss.IO_FLAG_MMAP_IFC


def test_lists_mapped_the_older_way_read_ahead_with_threads(tmp_path):
    build_index(tmp_path, ROWS, "IVF16,SQ8")
    index = faiss.read_index(str(tmp_path / "vectors.faiss"), faiss.IO_FLAG_MMAP)
    lists = faiss.downcast_InvertedLists(index.invlists)
    assert type(lists) is faiss.OnDiskInvertedLists and lists.prefetch_nthread == 32


def test_faiss_finds_nothing_to_tune_inside_a_map_of_numbers(tmp_path):
    def tunable(index):
        space = faiss.ParameterSpace()
        space.initialize(index)
        return {space.parameter_ranges.at(n).name for n in range(space.parameter_ranges.size())}

    assert tunable(trained("IDMap2,IVF16,SQ8")) == set()
    searcher = build_index(tmp_path, ROWS, "IVF16,SQ8")
    assert tunable(searcher.index) == {"nprobe"}
    tried = {point.parameters["nprobe"] for point in tune(searcher, QUERIES).points}
    assert len(tried) > 1
