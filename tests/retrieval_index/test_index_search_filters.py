"""Filters hold during the search: k passages come back whenever k pass, for every kind of index."""

import numpy as np
import pytest
from index_helpers import TableEncoder

import retrieval_index
from retrieval_index import ArgumentError, Document, build

COUNT = 2000
FACTORIES = (
    "Flat", "SQ8", "HNSW16", "HNSW16,SQ8", "IVF16,Flat", "IVF16_HNSW8,Flat", "IVF16,SQ8",
    "IVF16,PQ6x4fs", "IVF16,PQ6x4np", "IVF16,RaBitQ", "IVF16,RaBitQfs",
)  # fmt: skip
ENCODER = TableEncoder()
CORPUS = [
    Document(f"d{i}", f"Text number {i}.", "", {"percent": i % 100, "n": i, "odd": bool(i % 2)})
    for i in range(COUNT)
]
VECTORS = ENCODER.unit([document.text for document in CORPUS])
QUERIES = ["first question", "second question", "Text number 7."]
SCORES = ENCODER.unit(QUERIES) @ VECTORS.T
CASES = {
    "half": ({"odd": True}, lambda i: i % 2 == 1),
    "1 %": ({"percent": 42}, lambda i: i % 100 == 42),
    "0.1 %": ({"n": {"$in": [5, 1500]}}, lambda i: i in (5, 1500)),
    "not 1 %": ({"$not": {"percent": 42}}, lambda i: i % 100 != 42),
    "none": ({"n": -1}, lambda i: False),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("filters")


@pytest.mark.parametrize("factory", FACTORIES)
def test_filtered_answers(path, factory):
    out = path / factory
    index = build(CORPUS, out, ENCODER, index=factory, language=None, recall=0.9)
    exact = factory == "Flat"
    for name, (where, passes) in CASES.items():
        wanted = np.array([i for i in range(COUNT) if passes(i)], dtype=int)
        for k in (1, 10, 50):
            for row, hits in enumerate(index.search(QUERIES, k, where=where)):
                assert len(hits) == min(k, len(wanted)), (name, k)
                numbers = [int(hit.document_id[1:]) for hit in hits]
                assert set(numbers) <= set(wanted.tolist()) and len(set(numbers)) == len(numbers)
                np.testing.assert_allclose(
                    [hit.score for hit in hits], SCORES[row, numbers], atol=2e-6
                )
                best = wanted[np.argsort(-SCORES[row, wanted], kind="stable")[:k]]
                # Few allowed rows are compared one by one, whatever the kind.
                if exact or len(wanted) <= 20:
                    assert numbers == best.tolist()
                elif k == 10:
                    assert len(set(numbers) & set(best.tolist())) >= 4
    # Deletions are a filter too: 99 % are gone, and what is left is found.
    index.close()
    retrieval_index.delete(out, where={"$not": {"percent": 42}})
    with retrieval_index.open(out, ENCODER) as index:
        for row, hits in enumerate(index.search(QUERIES, 50)):
            best = sorted(range(42, COUNT, 100), key=lambda i, row=row: -SCORES[row, i])
            assert [int(hit.document_id[1:]) for hit in hits] == best
        assert len(index.search(QUERIES[0], 50, where={"odd": True})) == 0
        assert len(index.search(QUERIES[0], 50, where={"n": {"$lt": 1000}})) == 10


def test_filters_in_every_mode_and_segment(tmp_path):
    words = ("alpha", "beta", "gamma")
    corpus = [Document(f"d{i}", f"{words[i % 3]} text {i}", "", {"n": i}) for i in range(90)]
    build(corpus[:50], tmp_path / "i", ENCODER).close()
    retrieval_index.add(tmp_path / "i", corpus[50:], ENCODER)
    with retrieval_index.open(tmp_path / "i", ENCODER) as index:
        for mode in ("dense", "lexical", "hybrid"):
            hits = index.search("alpha", 100, mode=mode, where={"n": {"$gte": 40, "$lt": 60}})
            found = sorted(int(hit.document_id[1:]) for hit in hits)
            step = 3 if mode == "lexical" else 1
            assert found == list(range(42 if step == 3 else 40, 60, step))
        with pytest.raises(ArgumentError, match=r"`where\.n\.\$near`"):
            index.search("alpha", where={"n": {"$near": 3}})
        hits = index.search_vectors(ENCODER.encode(["alpha"]), 5, where={"n": 77})
        assert [hit.document_id for hit in hits[0]] == ["d77"]
