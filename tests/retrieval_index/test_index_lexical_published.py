"""nDCG@10 of BM25 on public collections, where these are present."""

import json
from pathlib import Path

import pytest

from retrieval_index.lexical.analyzer import Analyzer
from retrieval_index.lexical.search import LexicalSegment, search_lexical
from retrieval_index.lexical.writer import LexicalWriter

pytest.importorskip("bm25s")
pytest.importorskip("Stemmer")
pytrec_eval = pytest.importorskip("pytrec_eval")

DATA = Path(__file__).parents[3] / "shared" / "data" / "retrieval"


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("name", "floor"), [("cranfield", 0.4041), ("stackfaq", 0.7953), ("scifact", 0.6762)]
)
def test_bm25_is_as_good_as_measured_with_bm25s(tmp_path, name, floor):
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip("the collection is not present")
    qrels = {}
    for line in (folder / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, level = line.split("\t")
        qrels.setdefault(query, {})[document] = int(level)
    documents = lines(folder / "corpus.jsonl")
    queries = [query for query in lines(folder / "queries.jsonl") if query["_id"] in qrels]
    analyzer = Analyzer()
    segments = []
    half = len(documents) // 3  # two segments: an index after one `add`
    for number, part in enumerate((documents[:half], documents[half:])):
        writer = LexicalWriter(tmp_path / str(number), analyzer, k1=0.9, b=0.4)
        writer.add(f"{document['title']}\n{document['text']}" for document in part)
        writer.finish()
        segments.append(LexicalSegment(tmp_path / str(number), len(part)))
    found = search_lexical(segments, [query["text"] for query in queries], analyzer, 100)
    run = {
        query["_id"]: {
            documents[half * segment + number]["_id"]: float(score)
            for score, segment, number in zip(*hits, strict=True)
        }
        for query, hits in zip(queries, found, strict=True)
    }
    scores = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"}).evaluate(run)
    mean = sum(score["ndcg_cut_10"] for score in scores.values()) / len(qrels)
    assert mean >= floor - 0.00005  # the figures are known to four places
