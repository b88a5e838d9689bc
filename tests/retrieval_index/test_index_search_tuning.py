"""Search parameters and fusion weights that tuning stores, and scoring anew."""

import numpy as np
import pytest
from index_helpers import TableEncoder, numbered

import retrieval_index
from retrieval_index import ArgumentError, build

QUERIES = [f"question {i}" for i in range(60)]


def test_tune_stores_parameters(tmp_path):
    path = tmp_path / "i"
    build(numbered(600), path, TableEncoder(), index="IVF16,Flat", recall=0.5).close()
    retrieval_index.add(path, [("x", "A small segment.")], TableEncoder())
    results = retrieval_index.tune(path, QUERIES, TableEncoder(), recall=1.0)
    assert [result["factory"] for result in results] == ["IVF16,Flat", "Flat"]
    assert results[0]["parameters"]["nprobe"] >= 8 and results[0]["recall"] >= 0.95
    assert (results[1]["recall"], results[1]["parameters"]) == (1.0, {})
    with retrieval_index.open(path, TableEncoder()) as index:
        info = index.info()
        assert info["segments"][0]["vectors"]["parameters"] == results[0]["parameters"]
        assert info["segments"][0]["vectors"]["measured"]["target"] == 1.0
        assert index.version == 3
        # And they are what searches use.
        scores = (
            TableEncoder().unit(QUERIES)
            @ TableEncoder().unit([text for _, text in numbered(600)] + ["A small segment."]).T
        )
        best = np.sort(scores, axis=1)[:, ::-1][:, :10]
        found = [[hit.score for hit in hits] for hits in index.search(QUERIES, 10)]
        assert np.mean(np.isclose(found, best, atol=1e-5)) >= 0.95
    fast = retrieval_index.tune(path, QUERIES, TableEncoder(), recall=0.2)
    assert fast[0]["parameters"]["nprobe"] < results[0]["parameters"]["nprobe"]
    retrieval_index.verify(path)
    for bad in ({"recall": 0}, {"latency": -1}, {"queries": ["one"]}, {"queries": "text"}):
        with pytest.raises(ArgumentError):
            retrieval_index.tune(path, **{"encoder": TableEncoder(), **bad})


class Hinting(TableEncoder):
    """Puts a question at the document with as many exclamation marks; knows no words."""

    def vector(self, text):
        return super().vector("!" * text.count("!"))


def test_tune_fusion_turns_a_harmful_ranking_down(tmp_path):
    # As in StackFAQ: the questions share their words with wrong answers.
    path = tmp_path / "i"
    corpus = [(f"d{i}", f"word{(i + 1) % 40} other{i % 5} {'!' * i}") for i in range(40)]
    build(corpus, path, Hinting(), chunking="none", language="none").close()
    queries = {f"q{i}": f"word{i} other{(i + 2) % 5} {'!' * i}" for i in range(40)}
    qrels = {f"q{i}": {f"d{i}": 1} for i in range(40)}
    found = retrieval_index.tune_fusion(path, queries, qrels, Hinting())
    assert found["dense"] == pytest.approx(1.0) and found["lexical"] < 0.7
    assert found["equal"] < 0.95 < found["held_out"]
    assert found["weights"][0] > found["weights"][1]
    with retrieval_index.open(path, Hinting()) as index:
        assert index.info()["search"]["weights"] == found["weights"]
        first = {q: index.search(text, 1, mode="hybrid")[0].document_id
                 for q, text in queries.items()}  # fmt: skip
        assert first == {f"q{i}": f"d{i}" for i in range(40)}
        equal = [index.search(t, 1, mode="hybrid", fusion="rrf", weights=(1, 1))[0].document_id
                 for t in queries.values()]  # fmt: skip
        assert equal != list(first.values())
    with pytest.raises(ArgumentError, match="`qrels` must judge"):
        retrieval_index.tune_fusion(path, queries, {"zz": {"d1": 1}}, Hinting())


def length(query, texts):
    """Stands for a cross-encoder: longer is better."""
    return [len(text) for text in texts]


class Predicting:
    def predict(self, pairs):
        assert all(query == "question" for query, _ in pairs)
        return np.array([len(text) for _, text in pairs], dtype=np.float32)


@pytest.mark.parametrize("rerank", [length, Predicting()], ids=["function", "predict"])
def test_rerank(tmp_path, rerank):
    corpus = [(f"d{i}", "x" * (i + 1)) for i in range(30)]
    index = build(corpus, tmp_path / "i", TableEncoder())
    hits = index.search("question", 3, rerank=rerank)
    assert [(h.document_id, h.score, h.rank) for h in hits] == [
        ("d29", 30.0, 1), ("d28", 29.0, 2), ("d27", 28.0, 3),
    ]  # fmt: skip
    # Only the best `depth` of the search are scored anew.
    among = {h.document_id for h in index.search("question", 5)}
    hits = index.search("question", 3, rerank=rerank, depth=5)
    assert [h.document_id for h in hits] == sorted(among, key=lambda n: -int(n[1:]))[:3]
    for bad in (lambda q, t: [1.0], lambda q, t: [float("nan")] * len(t), 3):
        with pytest.raises(ArgumentError, match="`rerank` must"):
            index.search("question", 3, rerank=bad)
