"""Which index is chosen, and which factory strings are taken."""

import re

import pytest
from vectors_samples import DIMENSION, KINDS, build_index, clustered

from retrieval_index.errors import ArgumentError
from retrieval_index.vectors.choice import bytes_per_vector, centroids, choose_index, training_size
from retrieval_index.vectors.family import parse_factory


@pytest.mark.parametrize(
    ("count", "budgets", "factory", "lossy"),
    [
        (1, {}, "Flat", False),
        (50_000, {}, "Flat", False),
        (50_001, {}, "HNSW32", False),
        (1_000_000, {}, "HNSW32", False),
        (200_000, {"deletes": True}, "IVF2048,Flat", False),
        (3_000_000, {}, "IVF65536_HNSW32,SQ8", True),
        (1_000_000, {"memory": 10**9}, "HNSW32,SQ8", True),
        (1_000_000, {"memory": 10**9, "deletes": True}, "IVF4096,SQ8", True),
        (1_000_000, {"memory": 10**8}, "IVF4096,PQ96x4fs", True),
        (40_000, {"latency": 1.0}, "HNSW32", False),
        (1_000_000, {"recall": 1.0}, "Flat", False),
    ],
)
def test_the_choice_by_size_and_budget(count, budgets, factory, lossy):
    choice = choose_index(count, 384, **budgets)
    assert (choice.factory, choice.lossy) == (factory, lossy)
    assert choice.reason.startswith(factory)


def test_a_memory_budget_is_kept():
    for memory in (10**8, 5 * 10**8, 10**9, 2 * 10**9):
        choice = choose_index(1_000_000, 384, memory=memory)
        assert choice.bytes_per_vector * 1_000_000 <= memory


def test_where_nothing_fits_the_nearest_is_chosen_and_the_reason_says_so():
    small = choose_index(1_000_000, 384, memory=1_000_000)
    assert small.factory == "IVF4096,PQ96x4fs"
    assert "No index fits" in small.reason
    assert "`memory` is 1.0 MB" in small.reason
    fast = choose_index(1_000_000, 384, latency=1e-6)
    assert "`latency`" in fast.reason and "No index fits" in fast.reason
    exact = choose_index(1_000_000, 384, recall=1.0, memory=10**6)
    assert exact.factory == "Flat" and "`memory`" in exact.reason


def test_a_dimension_that_product_codes_cannot_divide_gets_bits_instead():
    assert choose_index(10**6, 383, memory=10**8).factory == "IVF4096,RaBitQfs"
    assert choose_index(10**6, 50, memory=4 * 10**7).factory == "IVF4096,PQ10x4fs"


def test_too_few_vectors_to_train_on_are_never_trained_on():
    assert choose_index(10, 8, memory=1).factory == "Flat"


def test_the_number_of_lists_follows_the_guidelines_and_the_data():
    assert centroids(1) == 1
    for count in (10_000, 100_000, 999_999):
        assert 2 * count**0.5 < centroids(count) < 16 * count**0.5
    assert centroids(5_000_000) == 65_536
    assert centroids(50_000_000) == 262_144
    assert centroids(500_000_000) == 1_048_576
    for count in (39, 500, 1_200_000, 3_000_000):
        assert centroids(count) * 39 <= count  # k-means has enough to learn from


def test_the_training_sample_has_30_to_256_vectors_for_each_list():
    for count in (50_000, 1_000_000, 5_000_000):
        family = parse_factory(f"IVF{centroids(count)},SQ8", 384)
        assert 30 <= training_size(family, count) / family.lists <= 256
    assert training_size(parse_factory("HNSW32", 384), 10**6) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_estimated_size_is_that_of_the_file(kind, tmp_path):
    searcher = build_index(tmp_path, clustered(5000), kind)
    size = (tmp_path / "vectors.faiss").stat().st_size / 5000
    estimate = bytes_per_vector(searcher.family, 5000, DIMENSION)
    assert estimate == pytest.approx(size, rel=0.25)


@pytest.mark.parametrize(
    ("asked", "built"),
    [
        ("IVF8,PQ16", "IVF8,PQ16np"),
        ("IVF8,PQ16x8", "IVF8,PQ16np"),
        ("IVF8,PQ16x6", "IVF8,PQ16x6np"),
        ("HNSW,PQ8", "HNSW32,PQ8np"),
        ("HNSW32,Flat", "HNSW32"),
        ("IVF8_HNSW,SQ8", "IVF8_HNSW32,SQ8"),
        ("IVF8, PQ8x4fs", "IVF8,PQ8x4fs"),
        ("IVF8,RaBitQfs4", "IVF8,RaBitQfs4"),
    ],
)
def test_a_factory_string_is_put_into_its_usual_form(asked, built):
    choice = choose_index(1000, 32, factory=asked)
    assert choice.factory == built
    assert asked in choice.reason


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        ("IVF8,PQ8x4fs,RFlat", "raw vectors are kept beside"),
        ("IVF8,SQ8,Refine(SQ8)", "raw vectors are kept beside"),
        ("IDMap2,IVF8,SQ8", "numbered from 0"),
        ("IDMap,Flat", "numbered from 0"),
        ("IVF8,FlatPanorama8", "pads"),
        ("PCA16,IVF8,Flat", "transform"),
        ("OPQ8,IVF8,PQ8", "transform"),
        ("NSG32", "filtered"),
        ("PQ8x4fs", "cannot be filtered"),
        ("IVF8", "not known"),
        ("IVF8,XY", "not known"),
        ("HNSW32,RaBitQ", "not known"),
        ("flat", "not known"),
        ("", "must be a FAISS factory string"),
        ("IVF8,PQ5", "do not divide"),
        ("IVF0,Flat", "at least 1"),
        ("HNSW500", "4 to 64"),
        ("IVF2000,Flat", "2,000 lists for 1,000 vectors"),
        ("IVF8,PQ8x12", "at least 4,096 vectors"),
    ],
)
def test_a_factory_string_that_would_go_wrong_is_refused(factory, reason):
    with pytest.raises(ArgumentError, match=re.escape(reason)) as raised:
        choose_index(1000, 32, factory=factory)
    assert "`factory`" in str(raised.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"memory": 0},
        {"memory": 1.5},
        {"latency": 0.0},
        {"latency": float("nan")},
        {"recall": 0.0},
        {"recall": 1.1},
    ],
)
def test_a_budget_outside_its_range_is_refused(wrong):
    with pytest.raises(ArgumentError, match=f"`{next(iter(wrong))}`"):
        choose_index(1000, 32, **wrong)
