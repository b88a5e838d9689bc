"""`kzoo index search` and `kzoo index evaluate`."""

import io
import json
import sys
import types

import pytest
from index_toys import documents, write_corpus, write_judgements

import retrieval_index
from kzoo.cli.index.search import QueryWords, window
from kzoo.cli.main import main


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with corpus.jsonl, queries.tsv, qrels.tsv and the index; read only."""
    folder = tmp_path_factory.mktemp("searched")
    corpus = write_corpus(folder / "corpus.jsonl")
    write_judgements(folder)
    assert main(["index", "build", str(corpus), str(folder / "index"), "--encoder", "hashing"]) == 0
    return folder


@pytest.fixture
def ask(kzoo, place):
    """Hits of `kzoo index search ... --json` for one query."""

    def call(query, *words):
        answer = kzoo("index", "search", place / "index", query, *words, "--json")
        assert answer.code == 0, answer.err
        return json.loads(answer.out)[0]["passages"]

    return call


def test_modes(ask, place):
    with retrieval_index.open(place / "index") as opened:
        for mode in ("dense", "lexical", "hybrid"):
            found = ask("number12 sort", "--mode", mode, "-k", 4)
            wanted = opened.search("number12 sort", 4, mode=mode)
            assert [hit["chunk_id"] for hit in found] == [p.chunk_id for p in wanted]
            assert [hit["score"] for hit in found] == pytest.approx([p.score for p in wanted])
        found = ask("number12 sort", "--mode", "hybrid", "--weights", 0, 1, "--fusion", "min-max")
        wanted = opened.search("number12 sort", 5, mode="hybrid", weights=(0, 1), fusion="min-max")
        assert [hit["chunk_id"] for hit in found] == [p.chunk_id for p in wanted]


def _late_files(document):
    return document["year"] >= 2005 and document["topic"] == "files"


@pytest.mark.parametrize(
    ("filters", "fits"),
    [
        (["lang=de"], lambda d: d["lang"] == "de"),
        (["year=2003"], lambda d: d["year"] == 2003),
        (['{"year": {"$gte": 2005}}', "topic=files"], _late_files),
        (["_id=d7"], lambda d: d["_id"] == "d7"),
        (["lang=fr"], lambda d: False),
    ],
)
def test_filters(ask, filters, fits):
    words = [word for text in filters for word in ("--where", text)]
    found = ask("the value", "-k", 100, *words)
    assert {hit["document_id"] for hit in found} == {d["_id"] for d in documents() if fits(d)}


def test_hits_on_the_screen(kzoo, place):
    text = kzoo("index", "search", place / "index", "sorting number13", "--mode", "lexical").out
    first = text.splitlines()[2]
    with retrieval_index.open(place / "index") as opened:
        hit = opened.search("sorting number13", 1, mode="lexical")[0]
    assert hit.document_id == "d13"
    assert first == f" 1. {hit.score:.3f}  d13 [{hit.start}:{hit.end}]  About lists"
    assert kzoo("index", "search", place / "index", "xyzzy", "--mode", "lexical").out.splitlines()[
        1:2
    ] == ["    nothing found"]


def test_narrow_terminal(kzoo, place, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = kzoo("index", "search", place / "index", "sorting the list", "-k", 3).out
    assert max(map(len, text.splitlines())) <= 80
    text = kzoo("index", "info", place / "index").out
    assert max(map(len, text.splitlines())) <= 80 + len(str(place))


def test_words_of_the_query_are_found_as_bm25_finds_them(place, tmp_path):
    text = "Sorts of things: SORTING, sorted; resort, the file."
    with retrieval_index.open(place / "index") as opened:
        spans = QueryWords(opened).spans("how to sort the files", text)
    assert [text[a:b] for a, b in spans] == ["Sorts", "SORTING", "sorted", "file"]
    made = retrieval_index.build(
        ["一つ の 東京都 文", "x"], tmp_path / "ja", "hashing", language="none"
    )
    with made:
        spans = QueryWords(made).spans("東京", "私は東京都に住む")
    assert ["私は東京都に住む"[a:b] for a, b in spans] == ["東京"]


def test_window_holds_what_matters():
    assert window(100, [(3, 5)], 200) == (0, 100)
    spans = [(10, 15), (700, 705), (720, 725), (990, 995)]
    start, end = window(1000, spans, 200)
    assert end - start == 200 and start <= 700 and end >= 725
    assert window(1000, [], 200) == (0, 200)
    assert window(1000, [(995, 1000)], 200) == (800, 1000)


def test_full(kzoo, tmp_path):
    (tmp_path / "long.txt").write_text("begin " + "word " * 150 + "needle " + "word " * 150 + "end")
    words = ("index", "build", tmp_path / "long.txt", tmp_path / "i", "--encoder", "hashing")
    assert kzoo(*words, "--chunking", "none").code == 0
    text = " ".join(kzoo("index", "search", tmp_path / "i", "needle").out.split())
    assert "needle" in text and "... word" in text and "begin" not in text and "end" not in text
    text = kzoo("index", "search", tmp_path / "i", "needle", "--full").out
    assert "begin" in text and "needle" in text and " end" in text and "..." not in text


def test_interactive(kzoo, place, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    words = ("index", "search", place / "index", "-k", 1, "--mode", "lexical")
    monkeypatch.setattr(sys, "stdin", Terminal("number7\nnumber8\n\nnumber9\n"))
    answer = kzoo(*words)
    assert answer.code == 0 and answer.err == "query> " * 3
    assert "d7" in answer.out and "d8" in answer.out and "d9" not in answer.out
    monkeypatch.setattr(sys, "stdin", io.StringIO("number7\n\nnumber9"))
    answer = kzoo(*words, "--json")
    assert answer.out.count('"query"') == 2 and answer.err == ""

    class Stopped(Terminal):
        def readline(self):
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", Stopped())
    assert kzoo(*words).code == 0


def test_rerank(ask, kzoo, place, monkeypatch):
    class CrossEncoder:
        def __init__(self, name):
            if name != "tiny":
                raise OSError(f"{name} is not a local folder\nand so on")

        def predict(self, pairs):
            return [float(text.count("hour")) for _, text in pairs]

    module = types.SimpleNamespace(CrossEncoder=CrossEncoder)
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    found = ask("the clock", "--rerank", "tiny", "-k", 3, "--depth", 60)
    counts = sorted((d["text"].count("hour") for d in documents()), reverse=True)
    assert [hit["score"] for hit in found] == counts[:3]
    answer = kzoo("index", "search", place / "index", "x", "--rerank", "none")
    assert answer.code == 2 and "--rerank 'none' cannot be loaded" in answer.err
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    answer = kzoo("index", "search", place / "index", "x", "--rerank", "tiny")
    assert answer.code == 2 and "pip install 'kzoo[sentence-transformers]'" in answer.err


@pytest.fixture
def evaluate(kzoo, place):
    words = ("--queries", place / "queries.tsv", "--qrels", place / "qrels.tsv")
    return lambda *more: kzoo("index", "evaluate", place / "index", *words, *more)


def test_evaluate(evaluate, place, tmp_path):
    answer = evaluate("--mode", "lexical", "--metrics", "nDCG@10,RR@10", "--metrics", "AP")
    assert answer.code == 0, answer.err
    assert "nDCG@10" in answer.out and "1.0000" in answer.out and "10 queries" in answer.out
    assert "1 judged but not asked" in answer.out and " ms a query" in answer.out
    files = {name: tmp_path / name for name in ("run.trec", "q.csv", "dense.json")}
    answer = evaluate(
        *("--run-file", files["run.trec"], "--csv", files["q.csv"], "--save", files["dense.json"]),
        *("--json", "-k", 100, "--batch-size", 5, "--name", "dense"),
    )
    found = json.loads(answer.out)
    with retrieval_index.open(place / "index") as opened:
        wanted = retrieval_index.evaluate(opened, place / "queries.tsv", place / "qrels.tsv")
    assert found["metrics"] == wanted.metrics and found["latency_ms"]["batch_size"] == 5
    assert len(files["q.csv"].read_text().splitlines()) == 11
    for other in ("run.trec", "dense.json"):
        answer = evaluate("--mode", "lexical", "--compare", files[other], "--json")
        compared = json.loads(answer.out)["comparison"]
        row = next(row for row in compared["rows"] if row["metric"] == "nDCG@10")
        assert row["first"] == 1.0 and row["second"] == pytest.approx(wanted.metrics["nDCG@10"])
    shown = evaluate("--mode", "lexical", "--compare", files["run.trec"], "--seed", 1).out
    assert "run.trec" in shown and "p (Holm)" in shown and "10 queries; randomization" in shown


def test_tune_fusion(kzoo, place, tmp_path):
    import shutil

    copy = tmp_path / "index"
    shutil.copytree(place / "index", copy)
    words = ("index", "evaluate", copy, "--queries", place / "queries.tsv")
    words += ("--qrels", place / "qrels.tsv", "--tune-fusion")
    answer = kzoo(*words)
    assert answer.code == 0, answer.err
    with retrieval_index.open(copy) as opened:
        rule = opened.info()["search"]
    assert f"Stored: {rule['method']} with weights" in answer.out
    assert "from 10 queries" in answer.out
    assert f"{rule['method']}, weights" in kzoo("index", "info", copy).out
    assert "held_out" in json.loads(kzoo(*words, "--json", "--depth", 50).out)
    answer = kzoo(*words, "--run-file", tmp_path / "x.trec")
    assert answer.code == 2 and "leave out --run-file" in answer.err
