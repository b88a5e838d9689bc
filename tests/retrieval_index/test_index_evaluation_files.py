"""Queries, judgements and runs: what is read from which form, and what is refused where."""

import gzip
import os
import random

import pytest

from retrieval_index.errors import EvaluationError
from retrieval_index.evaluation import files
from retrieval_index.evaluation.files import read_qrels, read_queries
from retrieval_index.evaluation.metrics import ranked
from retrieval_index.evaluation.runs import read_run, write_run


def put(tmp_path, content, name="file.txt"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# ---- queries -------------------------------------------------------------------------------------

QUERIES = {"1": "what is a kite", "q 2": "café ☕"}


@pytest.mark.parametrize(
    "content",
    [
        '{"_id": "1", "text": "what is a kite", "metadata": {}}\n\n{"_id":"q 2","text":"café ☕"}',
        '\ufeff{"id": 1, "query": "what is a kite"}\r\n{"query-id": "q 2", "text": "café ☕"}\r\n',
        "1\twhat is a kite\nq 2\tcafé ☕\n",
        "query-id\ttext\n1\twhat is a kite\nq 2\tcafé ☕\n",
        "qid\tquery\r\n1\twhat is a kite\r\nq 2\tcafé ☕",
        gzip.compress("1\twhat is a kite\nq 2\tcafé ☕\n".encode(), mtime=0),
    ],
)
def test_forms_of_queries(tmp_path, content):
    path = put(tmp_path, content)
    assert read_queries(path) == read_queries(str(path)) == QUERIES
    assert list(read_queries(path)) == list(QUERIES)


def test_queries_of_a_mapping_and_a_folder(tmp_path):
    assert read_queries({1: "what is a kite", "q 2": "café ☕"}) == QUERIES
    put(tmp_path, '{"_id": "1", "text": "a"}', "queries.jsonl")
    assert read_queries(tmp_path) == {"1": "a"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1\ta\n1\tb\n", "line 2 has the id '1', which was there before"),
        ("1\ta\n2\t \n", "line 2 must have a text that is not blank"),
        ("1\ta\n2 b\n", "line 2 must have 2 columns with a tab between"),
        ("1\ta\tb\n", "line 1 must have 2 columns"),
        ('{"_id": "1", "text": "a"}\n{"_id": "2", "text": ', "line 2 is not JSON"),
        ('{"_id": "1", "text": "a"}\n["2", "b"]', "line 2 must hold a JSON object, not list"),
        ('{"text": "a"}', "line 1 must have an id of a query; received: None"),
        ('{"_id": "1"}', "line 1 must have a text"),
        ('{"_id": true, "text": "a"}', "line 1 must have an id"),
        ("", "must not be empty"),
        ("id\ttext\n", "must not be empty"),
        (b"1\tcaf\xe9\n", "line 1 has the byte 0xe9"),
        (gzip.compress(b"1\ta\n", mtime=0)[:-9], "cannot be read to its end"),
    ],
)
def test_bad_queries(tmp_path, content, message):
    with pytest.raises(EvaluationError, match="`queries`") as caught:
        read_queries(put(tmp_path, content))
    assert message in str(caught.value)
    assert "file.txt" in str(caught.value)


def test_no_queries(tmp_path):
    with pytest.raises(EvaluationError, match="cannot be read"):
        read_queries(tmp_path / "missing")
    put(tmp_path, "x", "other.txt")
    with pytest.raises(EvaluationError, match=r"is a folder, which holds other\.txt"):
        read_queries(tmp_path)
    for bad in (["a query"], None, {}, {"1": ""}, {"1": 5}):
        with pytest.raises(EvaluationError, match="`queries`"):
            read_queries(bad)


# ---- judgements ----------------------------------------------------------------------------------

QRELS = {"1": {"d1": 2, "d2": 0}, "q2": {"d1": -1}}


@pytest.mark.parametrize(
    "content",
    [
        "query-id\tcorpus-id\tscore\n1\td1\t2\n1\td2\t0\nq2\td1\t-1\n",
        "1\td1\t2\n1\td2\t0\n\nq2\td1\t-1",
        "1 0 d1 2\n1 0 d2 0\nq2  Q0 d1 -1\n",
        "1\t0\td1\t2\r\n1\t0\td2\t0\r\nq2\t0\td1\t-1\r\n",
        "1\td1\t2.0\n1\td2\t0\nq2\td1\t-1\nq2\td1\t-1\n",
        '{"query-id": "1", "corpus-id": "d1", "score": 2.0}\n'
        '{"query-id": 1, "corpus-id": "d2", "score": 0}\n'
        '{"query-id": "q2", "corpus-id": "d1", "score": -1}',
        gzip.compress(b"1 0 d1 2\n1 0 d2 0\nq2 0 d1 -1\n", mtime=0),
    ],
)
def test_forms_of_qrels(tmp_path, content):
    assert read_qrels(put(tmp_path, content)) == QRELS


def test_qrels_of_a_mapping():
    assert read_qrels({1: {"d1": 2, "d2": 0.0}, "q2": {"d1": -1}, "q3": {}}) == QRELS
    assert read_qrels({"q": {"an id": 1}}) == {"q": {"an id": 1}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 0 d1 2\n1 0 d1 1\n", "line 2 gives the document 'd1' of the query '1' the level 1"),
        ("1 0 d1 2\n1 d1 2\n", "line 2 must have 4 columns as of TREC"),
        ("1 0 d1 2\n1\td1\t2\n", "line 2 must have the form of the first line"),
        ("1\td1\t2\n1\td2\tscore\n", "line 2 must have a whole number"),
        ("1\td1\t2\n1\td2\t0.5\n", "line 2 must have a whole number"),
        ("1 0 d1 nan\n", "line 1 must have a whole number"),
        ("1 0 d1 1e999\n", "line 1 must have a whole number"),
        ("1 0 d1 99999\n", "from -1000 to 1000"),
        ("1\t\t2\n", "line 1 must have an id of a document"),
        ("\td\t2\n", "line 1 must have an id of a query"),
        ('{"query-id": "1", "score": 2}', "line 1 must have an id of a document"),
        ('{"query-id": "1", "corpus-id": "d", "score": true}', "whole number"),
        ("query-id\tcorpus-id\tscore\n", "must not be empty"),
        ("", "must not be empty"),
        ("1 0 d\xff 1".encode("latin-1"), "has the byte 0xff"),
    ],
)
def test_bad_qrels(tmp_path, content, message):
    with pytest.raises(EvaluationError, match="`qrels`") as caught:
        read_qrels(put(tmp_path, content))
    assert message in str(caught.value)
    assert "file.txt" in str(caught.value)


def test_no_qrels():
    for bad in ([("q", "d", 1)], None, {}, {"q": ["d"]}, {"q": {"d": "x"}}, {"q": {}}):
        with pytest.raises(EvaluationError, match="`qrels`"):
            read_qrels(bad)


# ---- runs ----------------------------------------------------------------------------------------


def test_a_run_is_read_back_unchanged(tmp_path):
    rng = random.Random(0)
    run = {
        f"q{q}": {f"d{d}": rng.choice([rng.gauss(0, 1), 0.5, 1e-30, 3.0]) for d in range(40)}
        for q in range(20)
    }
    path = write_run(tmp_path / "run.trec", run, tag="mine")
    assert read_run(path) == run
    rows = [line.split(" ") for line in path.read_text().splitlines()]
    assert len(rows) == 800 and {(row[1], row[5]) for row in rows} == {("Q0", "mine")}
    for query, scores in run.items():
        own = [row for row in rows if row[0] == query]
        assert [row[2] for row in own] == ranked(scores)
        assert [int(row[3]) for row in own] == list(range(1, 41))
    assert os.listdir(tmp_path) == ["run.trec"]


def test_trec_eval_reads_it_alike(tmp_path):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    run = {"q": {"a": 1.0, "b": 1.0, "c": 2.5e-7}}
    with write_run(tmp_path / "run", run).open() as file:
        assert pytrec_eval.parse_run(file) == run


def test_a_run_of_numpy_scores_and_no_hits(tmp_path):
    import numpy as np

    path = write_run(tmp_path / "run", {"q": {"a": np.float32(0.1)}, "empty": {}})
    assert read_run(path) == {"q": {"a": float(np.float32(0.1))}}


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"q": {"an id": 1.0}}, "the id of a document must be one word"),
        ({"a query": {"d": 1.0}}, "the id of a query must be one word"),
        ({"q\n": {"d": 1.0}}, "the id of a query must be one word"),
        ({"q": {"": 1.0}}, "must have an id of a document"),
        ({"q": {"d": float("nan")}}, "query 'q' must have a finite number"),
        ({"q": {"d": float("inf")}}, "finite"),
        ({"q": {"d": True}}, "finite"),
        ({"q": ["d"]}, "must have a mapping"),
    ],
)
def test_runs_that_cannot_be_written(tmp_path, run, message):
    path = tmp_path / "run"
    path.write_text("old")
    with pytest.raises(EvaluationError) as caught:
        write_run(path, run)
    assert message in str(caught.value)
    assert "id.replace(' ', '_')" in str(caught.value) or "word" not in message
    assert os.listdir(tmp_path) == ["run"] and path.read_text() == "old"


def test_a_tag_is_one_word(tmp_path):
    for tag in ("", "my system", "x\t"):
        with pytest.raises(EvaluationError, match="`tag`"):
            write_run(tmp_path / "run", {"q": {"d": 1.0}}, tag=tag)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("q Q0 d 1 0.5\n", "line 1 must have 6 columns (query, Q0, document, rank, score, tag)"),
        ("q Q0 d 1 0.5 t\nq Q0 d 2 0.4 t\n", "line 2 names the document 'd' for the query 'q'"),
        ("q Q0 d 1 high t\n", "line 1 must have a finite number as score; received: 'high'"),
        ("q Q0 d 1 nan t\n", "finite"),
        ("", "must not be empty"),
    ],
)
def test_bad_runs(tmp_path, content, message):
    with pytest.raises(EvaluationError, match="`run`") as caught:
        read_run(put(tmp_path, content))
    assert message in str(caught.value)
    assert "file.txt" in str(caught.value)


def test_a_file_is_durable_before_it_has_its_name(tmp_path, monkeypatch):
    done = []
    replace = os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append("fsync"))
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append("name"), replace(*paths)))
    monkeypatch.setattr(files, "fsync_folder", lambda path: done.append("folder"))
    write_run(tmp_path / "run", {"q": {"d": 1.0}})
    assert done == ["fsync", "name", "folder"]


def test_random_bytes_are_named_errors(tmp_path):
    rng = random.Random(1)
    seeds = [b"1\t0\td1\t2\n", b'{"_id": "1", "text": "a"}\n', b"q Q0 d 1 0.5 t\n", b"q\td\t1\n"]
    for number in range(600):
        data = bytearray(b"".join(rng.choices(seeds, k=rng.randint(1, 4))))
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path = put(tmp_path, bytes(data), f"f{number % 5}")
        for read in (read_queries, read_qrels, read_run):
            try:
                assert read(path)
            except EvaluationError as error:
                assert str(path) in str(error)
