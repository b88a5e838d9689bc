"""`benchmarks/retrieval_quality.py` from end to end, on twenty documents in BEIR's layout."""

import json

import numpy as np
import pytest
import retrieval_quality
from _fusion_ties import ties_note
from _published_retrieval import Goal
from _query_memory import QueryMemory

import retrieval_index

THINGS = ("lamp", "river", "engine", "violin", "glacier", "harbour", "engraving", "telescope")


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data" / "small"
    (folder / "qrels").mkdir(parents=True)
    documents = [
        {"_id": f"d{i}", "title": f"About a {thing}", "text": f"The {thing} number {i} is here."}
        for i, thing in enumerate(THINGS * 3)
    ]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, documents)))
    queries = [{"_id": f"q{i}", "text": f"where is a {t}"} for i, t in enumerate(THINGS)]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    rows = [f"q{i}\td{i}\t1" for i in range(len(THINGS))]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]))
    return tmp_path / "data"


def arguments(data, tmp_path, *more):
    fixed = ["--data", str(data), "--collection", "small", "--encoder", "hashing:64"]
    return [*fixed, "--work", str(tmp_path / "work"), *more]


def test_every_kind_of_search_is_measured_and_indexes_are_taken_up_again(data, tmp_path, capsys):
    out = tmp_path / "out.json"
    found = retrieval_quality.main(arguments(data, tmp_path, "--json", str(out)))
    small = found["collections"]["small"]
    assert list(small["rows"]) == ["dense", "lexical", "fused", "tuned", "chunked"]
    for figures in small["rows"].values():
        # One of three documents about the thing is relevant, and the words are those of the query.
        assert 0.5 <= figures["RR@10"] <= figures["R@100"] == 1
    assert small["pytrec"] < 1e-6
    assert [build["reused"] for build in small["builds"].values()] == [False, False]
    assert json.loads(out.read_text())["collections"]["small"]["rows"] == small["rows"]
    assert "ties to dense" in capsys.readouterr().out
    again = retrieval_quality.main(arguments(data, tmp_path, "--skip-default-chunking"))
    assert again["collections"]["small"]["builds"]["none"]["reused"]
    rows = again["collections"]["small"]["rows"]
    assert rows == {key: small["rows"][key] for key in rows}


def test_training_judgements_choose_the_weights_where_there_are_some(data, tmp_path):
    qrels = data / "small" / "qrels"
    (qrels / "train.tsv").write_text((qrels / "test.tsv").read_text())
    argv = arguments(data, tmp_path, "--skip-default-chunking")
    note = retrieval_quality.main(argv)["collections"]["small"]["rows"]["tuned"]["note"]
    assert note.endswith("from 8 training queries")


@pytest.mark.parametrize(
    ("goal", "found", "verdict"),
    [
        (Goal(0.6451, 0.001, both=True), 0.6442, "ok"),
        (Goal(0.6451, 0.001, both=True), 0.6440, "BELOW"),
        (Goal(0.6451, 0.001, both=True), 0.6470, "above"),
        (Goal(0.676), 0.67596, "ok"),
        (Goal(0.676), 0.6759, "BELOW"),
        (Goal(0.676), 0.7, "ok"),
    ],
)
def test_verdicts(goal, found, verdict):
    assert goal.verdict(found) == verdict


def test_ties_are_given_to_either_ranking():
    qrels = {"q": {"a": 1}}
    dense = retrieval_index.evaluate_run({"q": {"a": 2.0, "b": 1.0}}, qrels)
    lexical = retrieval_index.evaluate_run({"q": {"a": 1.0, "b": 2.0}}, qrels)
    note = ties_note(dense, lexical, qrels)
    assert note == f"ties to dense 1.0000, to BM25 {1 / np.log2(3):.4f}"


def test_queries_are_encoded_once():
    class Counting:
        name, fingerprint, dimension, max_tokens = "a:b", "c", 2, None
        seen: list[str] = []  # noqa: RUF012

        def encode(self, texts):
            self.seen += texts
            return np.array([[len(text), 1] for text in texts], np.float32)

    memory = QueryMemory(Counting())
    first = memory.encode_queries(["aa", "b", "aa"])
    assert first.tolist() == [[2, 1], [1, 1], [2, 1]]
    assert memory.encode_queries(["b", "cccc"]).tolist() == [[1, 1], [4, 1]]
    assert Counting.seen == ["aa", "b", "cccc"]
    assert not hasattr(memory, "token_offsets")
