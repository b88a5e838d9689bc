"""A FAISS file is opened only if it is what it should be."""

import faiss
import numpy as np
import pytest
from vectors_samples import COUNT, DIMENSION, KINDS, build_index, clustered

from retrieval_index.errors import CorruptIndexError
from retrieval_index.vectors.family import parse_factory
from retrieval_index.vectors.reading import io_flags, read_vectors
from retrieval_index.vectors.searcher import VectorSearcher
from retrieval_index.vectors.structure import content_problem

ROWS = clustered(COUNT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for kind in KINDS:
        build_index(folder, ROWS, kind, name=kind)
    return folder


def write(index, tmp_path):
    path = tmp_path / "written.faiss"
    faiss.write_index(index, str(path))
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_read_as_itself_and_as_no_other(folder, kind):
    path = folder / f"{kind}.faiss"
    read_vectors(path, kind, COUNT, DIMENSION, thorough=True)
    for other in KINDS:
        if other != kind:
            with pytest.raises(CorruptIndexError, match=r"expected|too few"):
                read_vectors(path, other, COUNT, DIMENSION)


@pytest.mark.parametrize(
    ("kind", "near"),
    [
        ("HNSW16", "HNSW17"),
        ("IVF64,Flat", "IVF65,Flat"),
        ("IVF64,PQ16x4fs", "IVF64,PQ8x4fs"),
        ("IVF64,PQ16x4fs", "IVF64,PQ16x4fsr"),
        ("IVF64,RaBitQ4", "IVF64,RaBitQ3"),
        ("IVF64_HNSW8,SQ8", "IVF64_HNSW9,SQ8"),
        ("SQfp16", "SQbf16"),
        ("HNSW16,SQ8", "HNSW16,SQ6"),
    ],
)
def test_one_number_in_the_factory_string_makes_another_index(folder, kind, near):
    with pytest.raises(CorruptIndexError, match=r"expected|too few"):
        read_vectors(folder / f"{kind}.faiss", near, COUNT, DIMENSION)


@pytest.mark.parametrize("kind", KINDS)
def test_another_count_dimension_or_metric_is_refused(folder, kind, tmp_path):
    path = folder / f"{kind}.faiss"
    with pytest.raises(CorruptIndexError, match="5,000 vectors, and 4,999 were expected"):
        read_vectors(path, kind, COUNT - 1, DIMENSION)
    with pytest.raises(CorruptIndexError, match=r"dimension|too few"):
        read_vectors(path, kind, COUNT, 2 * DIMENSION)
    other = faiss.index_factory(DIMENSION, kind, faiss.METRIC_L2)
    other.train(ROWS)
    other.add(ROWS)
    with pytest.raises(CorruptIndexError, match=r"expected|too few"):
        read_vectors(write(other, tmp_path), kind, COUNT, DIMENSION)


def test_a_file_that_is_no_index_is_refused(tmp_path, folder):
    path = tmp_path / "broken.faiss"
    whole = (folder / "IVF64,SQ8.faiss").read_bytes()
    for content in (b"", b"IxFI", b"nonsense" * 100, whole[:100], whole[:-50]):
        path.write_bytes(content)
        with pytest.raises(CorruptIndexError, match=r"cannot be read by FAISS|too few"):
            read_vectors(path, "IVF64,SQ8", COUNT, DIMENSION)
    with pytest.raises(CorruptIndexError, match=r"cannot be read by FAISS|too few"):
        read_vectors(tmp_path / "absent.faiss", "Flat", COUNT, DIMENSION)


def test_lists_with_wrong_row_numbers_are_found_by_a_thorough_reading(tmp_path):
    for numbers in (np.arange(COUNT) + 1, np.zeros(COUNT, np.int64), -np.arange(COUNT)):
        index = faiss.index_factory(DIMENSION, "IVF64,Flat", faiss.METRIC_INNER_PRODUCT)
        index.train(ROWS)
        index.add_with_ids(ROWS, numbers)
        path = write(index, tmp_path)
        read_vectors(path, "IVF64,Flat", COUNT, DIMENSION)
        with pytest.raises(CorruptIndexError, match=r"list \d+ holds a row|is in none of its"):
            read_vectors(path, "IVF64,Flat", COUNT, DIMENSION, thorough=True)


def test_a_link_out_of_the_graph_is_found_by_a_thorough_reading():
    index = faiss.index_factory(DIMENSION, "HNSW16", faiss.METRIC_INNER_PRODUCT)
    index.add(ROWS)
    family = parse_factory("HNSW16", DIMENSION)
    assert content_problem(index, family, COUNT) is None
    links = faiss.rev_swig_ptr(index.hnsw.neighbors.data(), index.hnsw.neighbors.size())
    for wrong in (COUNT, -2):
        before, links[7] = links[7], wrong
        assert "a link leads outside 0..4999" in content_problem(index, family, COUNT)
        links[7] = before


def test_a_graph_with_wrong_levels_is_found(tmp_path):
    def changed(change):
        index = faiss.index_factory(DIMENSION, "HNSW16", faiss.METRIC_INNER_PRODUCT)
        index.add(ROWS)
        change(index.hnsw)
        return write(index, tmp_path)

    def raise_a_node(graph):
        faiss.rev_swig_ptr(graph.levels.data(), COUNT)[0] += 1

    def enter_too_high(graph):
        graph.max_level += 1

    def lead_down(graph):
        levels = faiss.vector_to_array(graph.levels)
        high = int(np.flatnonzero(levels > 1)[0])
        low = int(np.flatnonzero(levels == 1)[0])
        links = faiss.rev_swig_ptr(graph.neighbors.data(), graph.neighbors.size())
        links[graph.offsets.at(high) + 32] = low

    for change, message in (
        (raise_a_node, "level|links"),
        (enter_too_high, "entered from level|cannot be read"),
        (lead_down, "a link of level 1 leads to a node below it"),
    ):
        with pytest.raises(CorruptIndexError, match=message):
            read_vectors(changed(change), "HNSW16", COUNT, DIMENSION, thorough=True)


def test_an_index_whose_parts_disagree_is_refused(tmp_path):
    index = faiss.index_factory(DIMENSION, "IVF64,Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(ROWS)
    index.add(ROWS)
    index.ntotal = COUNT - 5
    with pytest.raises(CorruptIndexError):
        read_vectors(write(index, tmp_path), "IVF64,Flat", COUNT - 5, DIMENSION)


def test_flags_that_map_a_file_are_never_combined():
    for kind in KINDS:
        flags = io_flags(parse_factory(kind, DIMENSION))
        assert not (flags & faiss.IO_FLAG_MMAP_IFC and flags & faiss.IO_FLAG_MMAP)
        assert bool(flags) != ("fs" in kind)


@pytest.mark.parametrize("kind", ["Flat", "SQ8", "HNSW16", "IVF64,SQ8", "IVF64,RaBitQ"])
def test_opening_maps_the_file(folder, kind):
    path = str(folder / f"{kind}.faiss")
    index = read_vectors(folder / f"{kind}.faiss", kind, COUNT, DIMENSION)
    with open("/proc/self/maps") as maps:
        assert path in maps.read()
    loaded = read_vectors(folder / f"{kind}.faiss", kind, COUNT, DIMENSION, mapped=False)
    found = [VectorSearcher(each, kind, ROWS).search(ROWS[:9], 5) for each in (index, loaded)]
    np.testing.assert_array_equal(found[0][1], found[1][1])
    # No OnDiskInvertedLists: those start 32 threads in every search.
    if "IVF" in kind:
        assert type(faiss.downcast_InvertedLists(index.invlists)) is faiss.ArrayInvertedLists
