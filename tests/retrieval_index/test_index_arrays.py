"""The array face of an open index: `nearest`, `vectors`, `passages`, beside NumPy and `search`."""

from __future__ import annotations

import numpy as np
import pytest
from index_helpers import TableEncoder, numbered

import retrieval_index
from retrieval_index import ArgumentError, ClosedIndexError

ENCODER = TableEncoder()
QUERIES = [f"question {i}" for i in range(7)]
DELETED = [f"d{i}" for i in (0, 3, 211, 299, 305)]
# One of every kind: exact, graph, lists, and lossy ones with the raw vectors beside them.
KINDS = ["Flat", "SQ8", "HNSW16", "HNSW16,SQ8", "IVF8,Flat", "IVF8,SQ8", "IVF8,PQ12x4fs"]


def build(out, factory="Flat", count=300, **options):
    corpus = [
        {"id": name, "text": text, "metadata": {"even": int(name[1:]) % 2 == 0}}
        for name, text in numbered(count)
    ]
    return retrieval_index.build(corpus, out, ENCODER, index=factory, progress=False, **options)


@pytest.fixture(scope="module", params=KINDS)
def changed(request, tmp_path_factory):
    """Three segments of a kind, with documents deleted in two of them."""
    out = tmp_path_factory.mktemp("arrays") / "index"
    build(out, request.param).close()
    everything = numbered(360)
    for first in (300, 330):
        retrieval_index.add(out, everything[first : first + 30], encoder=ENCODER, progress=False)
    retrieval_index.delete(out, DELETED)
    with retrieval_index.open(out, ENCODER) as index:
        assert len(index.info()["segments"]) == 3
        yield index


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    with build(tmp_path_factory.mktemp("arrays") / "index") as opened:
        yield opened


def truth(count=360):
    """All vectors as they lie in the index, one passage a document, and which are alive."""
    vectors = ENCODER.unit([text for _, text in numbered(count)])
    alive = np.ones(count, dtype=bool)
    alive[[int(name[1:]) for name in DELETED]] = False
    return vectors, alive


def test_nearest_is_what_search_finds(changed):
    numbers, scores = changed.nearest(ENCODER.encode(QUERIES), k=9)
    assert (numbers.dtype, scores.dtype) == (np.int64, np.float32)
    assert numbers.shape == scores.shape == (7, 9)
    answers = changed.search_vectors(ENCODER.encode(QUERIES), k=9)
    assert numbers.tolist() == [[p.chunk_id for p in answer] for answer in answers]
    assert scores.tolist() == [[p.score for p in answer] for answer in answers]
    by_text = changed.search(QUERIES, k=9)
    assert numbers.tolist() == [[p.chunk_id for p in answer] for answer in by_text]


def test_nearest_beside_brute_force(changed):
    vectors, alive = truth()
    queries = ENCODER.unit(QUERIES)
    numbers, scores = changed.nearest(queries, k=5)
    assert alive[numbers].all()
    products = np.einsum("nd,nkd->nk", queries, vectors[numbers])
    np.testing.assert_allclose(scores, products, atol=2e-6)  # exact whatever the codes
    best = np.argsort(-np.where(alive, queries @ vectors.T, -np.inf), axis=1)[:, :5]
    found = [len({*row} & {*wanted}) for row, wanted in zip(numbers, best, strict=True)]
    if changed.info()["segments"][0]["vectors"]["factory"] == "Flat":
        assert numbers.tolist() == best.tolist()
    assert sum(found) >= 0.8 * best.size


def test_every_passage_that_is_left_is_found_when_k_is_larger(changed):
    _, alive = truth()
    numbers, scores = changed.nearest(ENCODER.encode(QUERIES), k=400)
    assert numbers.shape == (7, 400)
    kept = int(alive.sum())
    assert kept == len(changed)
    for row in numbers:
        assert sorted(row[:kept].tolist()) == np.flatnonzero(alive).tolist()
    assert (numbers[:, kept:] == -1).all() and np.isneginf(scores[:, kept:]).all()
    assert np.isfinite(scores[:, :kept]).all() and (np.diff(scores[:, :kept], axis=1) <= 0).all()


def test_stored_vectors_are_those_of_the_encoder(changed):
    vectors, alive = truth()
    numbers = np.flatnonzero(alive)[::-1].copy()
    found = changed.vectors(numbers)
    assert found.dtype == np.float32 and found.shape == (len(numbers), 24)
    np.testing.assert_allclose(found, vectors[numbers], atol=1e-6)
    blocks = np.concatenate([rows for _, rows in changed.passages()])
    np.testing.assert_array_equal(found[::-1], blocks)  # to the bit, whatever the codes
    square = changed.vectors(np.array([[5, -1], [340, 5]], dtype=np.int32))
    assert square.shape == (2, 2, 24)
    assert not square[0, 1].any()
    np.testing.assert_array_equal(square[0, 0], square[1, 1])


def test_scores_are_products_with_the_stored_vectors(changed):
    queries = ENCODER.unit(QUERIES)
    numbers, scores = changed.nearest(queries, k=4)
    products = np.einsum("nd,nkd->nk", queries, changed.vectors(numbers))
    np.testing.assert_allclose(scores, products, atol=2e-6)


def test_passages_are_those_of_the_hits(changed):
    answers = changed.search_vectors(ENCODER.encode(QUERIES), k=3)
    numbers, _ = changed.nearest(ENCODER.encode(QUERIES), k=3)

    def content(passage):
        return (passage.chunk_id, passage.document_id, passage.text, passage.start, passage.end)

    nested = changed.passages(numbers)
    assert [[content(p) for p in row] for row in nested] == [
        [content(p) for p in row] for row in answers
    ]
    assert [[p.rank for p in row] for row in nested] == [[1, 2, 3]] * 7
    assert {p.score for row in nested for p in row} == {0.0}
    flat = changed.passages(numbers.ravel())
    assert [p.chunk_id for p in flat] == numbers.ravel().tolist()


def test_passages_in_order_with_gaps_and_repetitions(index):
    found = index.passages([7, -1, 2, 7])
    assert [p and p.document_id for p in found] == ["d7", None, "d2", "d7"]
    assert found[0].metadata == {"even": False} and found[0].text == dict(numbered(300))["d7"]


def test_nothing_asked_nothing_returned(index):
    numbers, scores = index.nearest(np.zeros((0, 24)), k=3)
    assert numbers.shape == scores.shape == (0, 3)
    assert index.vectors([]).shape == (0, 24)
    assert index.vectors(np.empty((2, 0), dtype=int)).shape == (2, 0, 24)
    assert index.passages([]) == [] and index.passages(np.empty((2, 0), dtype=int)) == [[], []]


def test_one_vector_is_one_row(index):
    vector = ENCODER.encode(QUERIES[:1])
    one, many = index.nearest(vector[0], k=4), index.nearest(vector, k=4)
    assert one[0].shape == (1, 4)
    np.testing.assert_array_equal(one[0], many[0])
    np.testing.assert_array_equal(one[1], many[1])
    assert index.vectors(7).shape == (24,)


def test_filters_and_limits_hold(index):
    vectors = ENCODER.encode(QUERIES)
    numbers, scores = index.nearest(vectors, k=200, where={"even": True})
    assert (numbers[:, :150] % 2 == 0).all() and (numbers[:, 150:] == -1).all()
    answers = index.search_vectors(vectors, k=200, where={"even": True})
    assert scores[:, :150].tolist() == [[p.score for p in answer] for answer in answers]
    none, _ = index.nearest(vectors, k=2, where={"even": "neither"})
    assert (none == -1).all()


def test_one_passage_of_a_document(tmp_path):
    corpus = [(f"d{i}", " ".join(f"w{i}x{j}" for j in range(40))) for i in range(20)]
    with retrieval_index.build(
        corpus, tmp_path / "index", ENCODER, chunk_size=5, overlap=0, progress=False
    ) as index:
        assert len(index) == 160
        numbers, scores = index.nearest(ENCODER.encode(QUERIES), k=30, per_document=1)
        documents = [[p and p.document_id for p in row] for row in index.passages(numbers)]
        assert all(len({*row[:20]}) == 20 and row[20:] == [None] * 10 for row in documents)
        assert np.isneginf(scores[:, 20:]).all()


def test_vectors_of_an_index_that_does_not_normalise(tmp_path):
    with build(tmp_path / "index", count=20, normalize=False) as index:
        raw = np.stack([ENCODER.vector(text) for _, text in numbered(20)])
        np.testing.assert_array_equal(index.vectors(np.arange(20)), raw)
        queries = ENCODER.encode(QUERIES) * 3
        numbers, scores = index.nearest(queries, k=20)
        wanted = np.take_along_axis(queries @ raw.T, numbers, axis=1)
        np.testing.assert_allclose(scores, wanted, rtol=1e-5, atol=1e-4)


def test_numbers_hold_while_the_index_is_open_and_changes_go_on(tmp_path):
    with build(tmp_path / "index", count=30) as index:
        before = index.nearest(ENCODER.encode(QUERIES), k=30)
        retrieval_index.delete(index.path, ["d0", "d1"])
        retrieval_index.compact(index.path, progress=False)
        after = index.nearest(ENCODER.encode(QUERIES), k=30)
        np.testing.assert_array_equal(before[0], after[0])
        assert index.passages([0])[0].document_id == "d0"
        with retrieval_index.open(index.path, ENCODER) as newer:
            assert newer.passages([0])[0].document_id == "d2"


@pytest.mark.parametrize(
    "vectors, message",
    [
        (
            np.zeros((2, 23)),
            r"`vectors` must have .* \(n, 24\) or \(24,\); received \(2, 23",
        ),
        (np.zeros(23), r"`vectors` must .* received \(23,\)"),
        (np.zeros((1, 2, 24)), r"`vectors` must .* received \(1, 2, 24\)"),
        (np.float32(1), r"`vectors` must .* received \(\)"),
        (np.full((1, 24), np.nan), "`vectors` must be finite"),
        (np.full(24, np.inf), "`vectors` must be finite"),
        ([["a"]], "`vectors` must be an array of floats"),
        ([[1.0], [1.0, 2.0]], "`vectors` must be an array of floats"),
    ],
)
def test_bad_vectors(index, vectors, message):
    with pytest.raises(ArgumentError, match=message):
        index.nearest(vectors)


@pytest.mark.parametrize("k", [0, -1, 2.0, True, None])
def test_bad_k(index, k):
    with pytest.raises(ArgumentError, match="`k` must be"):
        index.nearest(np.ones((1, 24)), k)


@pytest.mark.parametrize("method", ["vectors", "passages"])
@pytest.mark.parametrize(
    "numbers, message",
    [
        ([1, 300], r"`numbers` must lie in \[0, 300\).*received: 300"),
        ([-2], "or be -1 for none; received: -2"),
        (np.array([2**63], dtype=np.uint64), "`numbers` must lie in"),
        ([1.0], "`numbers` must be whole numbers.*float64"),
        ([True], "`numbers` must be whole numbers.*bool"),
        (["1"], "`numbers` must be whole numbers"),
        ([[1], [1, 2]], "`numbers` must be an array"),
    ],
)
def test_bad_numbers(index, method, numbers, message):
    with pytest.raises(ArgumentError, match=message):
        getattr(index, method)(numbers)


def test_a_single_number_is_no_list_of_passages(index):
    with pytest.raises(ArgumentError, match="`numbers` must be a list"):
        index.passages(3)


@pytest.mark.parametrize("method", ["vectors", "passages"])
def test_deleted_passages_are_named(changed, method):
    with pytest.raises(ArgumentError, match=r"`numbers` must be .* not deleted; received: 305"):
        getattr(changed, method)([[1, 305]])


def test_closed(tmp_path):
    index = build(tmp_path / "index", count=5)
    index.close()
    for call in (
        lambda: index.nearest(np.ones(24)),
        lambda: index.vectors([0]),
        lambda: index.passages([0]),
    ):
        with pytest.raises(ClosedIndexError):
            call()
