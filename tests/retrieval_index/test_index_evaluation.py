"""evaluate, evaluate_run and compare: end to end, against pytrec_eval."""

import csv
import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from retrieval_index.errors import ArgumentError, EvaluationError
from retrieval_index.evaluation import Evaluation, evaluate, evaluate_run, read_qrels, read_run

DATA = Path(__file__).parents[3] / "shared" / "data" / "retrieval"


@dataclass
class Hit:
    document_id: str
    score: float


class Scripted:
    """An index that knows its answers; one passage of a document may follow another's."""

    def __init__(self, answers):
        self.answers = answers
        self.calls = []

    def search(self, queries, k, per_document=None, **options):
        self.calls.append((list(queries), k, per_document, options))
        return [
            sorted((Hit(d, s) for d, s in self.answers.get(q, [])), key=lambda h: -h.score)[:k]
            for q in queries
        ]


def collection(seed, count=40):
    """Queries, graded judgements, and a run with ties, as lists of (document, score)."""
    rng = random.Random(seed)
    queries = {f"q{i}": f"text {i}" for i in range(count)}
    qrels = {
        query: {f"d{d}": rng.choice([0, 0, 1, 2]) for d in rng.sample(range(60), 12)}
        for query in queries
    }
    qrels["q1"] = {"d1": 0}
    answers = {
        text: [(f"d{d}", rng.randint(0, 8) / 8) for d in rng.sample(range(60), 30)]
        for text in queries.values()
    }
    answers["text 2"] = []
    return queries, qrels, answers


def test_equal_to_pytrec_eval(tmp_path):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    queries, qrels, answers = collection(0)
    file = tmp_path / "run.trec"
    index = Scripted(answers)
    evaluation = evaluate(
        index, queries, qrels, metrics=("nDCG@10", "RR", "R@20", "AP", "Success@5", "P@5"),
        k=30, run_file=file, batch_size=7, mode="dense",
    )  # fmt: skip
    names = {
        "nDCG@10": "ndcg_cut_10", "RR": "recip_rank", "R@20": "recall_20", "AP": "map",
        "Success@5": "success_5", "P@5": "P_5",
    }  # fmt: skip
    run = read_run(file)
    assert "q2" not in run and len(run) == 39
    run["q2"] = {}
    requests = {"ndcg_cut.10", "recip_rank", "recall.20", "map", "success.5", "P.5"}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, requests).evaluate(run)
    for query in queries:
        for name, their in names.items():
            value = evaluation.per_query[query][name]
            assert value == pytest.approx(theirs[query][their], abs=1e-6)
    for name, their in names.items():
        mean = sum(row[their] for row in theirs.values()) / 40
        assert evaluation.metrics[name] == pytest.approx(mean, abs=1e-6)
    assert list(evaluation.per_query) == list(queries)
    assert {call[1:3] for call in index.calls} == {(30, 1)}
    assert all(call[3] == {"mode": "dense"} for call in index.calls)
    assert [len(call[0]) for call in index.calls] == [7, 7, 7, 7, 7, 7, 5]  # the first warms up

    # The file alone gives the same figures, but for the order of documents whose scores tie.
    again = evaluate_run(file, qrels, metrics=list(names))
    assert again.per_query == {query: evaluation.per_query[query] for query in qrels}
    assert again.metrics == pytest.approx(evaluation.metrics, abs=1e-12)
    assert again.name == "run.trec" and again.latency is None and again.k is None


def test_counts_and_rules():
    queries = {"a": "A", "b": "B", "c": "C", "unjudged": "U", "empty": "E"}
    qrels = {"a": {"d": 1}, "b": {"d": 1}, "c": {"d": 0}, "empty": {}, "elsewhere": {"d": 1}}
    index = Scripted({"A": [("d", 0.1), ("x", 0.05)], "C": [("d", 0.5)]})
    evaluation = evaluate(index, queries, qrels, metrics="RR")
    assert evaluation.per_query == {"a": {"RR": 1.0}, "b": {"RR": 0.0}, "c": {"RR": 0.0}}
    assert evaluation.metrics == {"RR": pytest.approx(1 / 3)}
    counts = evaluation.counts
    assert (counts.evaluated, counts.without_hits, counts.without_relevant) == (3, 1, 1)
    assert (counts.without_judgements, counts.not_asked) == (2, 1)
    asked = {text for call in index.calls for text in call[0]}
    assert asked == {"A", "B", "C"}
    for part in ("3 queries", "1 without hits", "1 without a relevant", "2 without judgements"):
        assert part in str(evaluation)
    assert "1 judged but not asked" in evaluation.summary() and "p95" in evaluation.summary()
    assert 0 <= evaluation.latency.p50 <= evaluation.latency.p95

    by_run = evaluate_run({"a": {"d": 1.0}, "unjudged": {"d": 1.0}}, qrels, metrics="RR")
    assert by_run.metrics == {"RR": 1 / 4}  # b, c and elsewhere count as 0
    assert by_run.counts.without_judgements == 1 and by_run.counts.without_hits == 3


def test_a_document_has_the_score_of_its_best_passage():
    index = Scripted({"A": [("x", 0.2), ("d", 0.1), ("d", 0.3), ("x", 0.25)]})
    evaluation = evaluate(index, {"a": "A"}, {"a": {"d": 1}}, metrics="RR", per_document=None)
    assert evaluation.run == {"a": {"x": 0.25, "d": 0.3}}
    assert evaluation.metrics == {"RR": 1.0}
    assert index.calls[-1][2] is None


def test_bad_arguments(tmp_path):
    queries, qrels, index = {"a": "A"}, {"a": {"d": 1}}, Scripted({})
    with pytest.raises(ArgumentError, match="`k` must be at least 100 for R@100; received: 50"):
        evaluate(index, queries, qrels, k=50)
    with pytest.raises(ArgumentError, match="unknown name"):
        evaluate(index, queries, qrels, metrics="quality")
    with pytest.raises(ArgumentError, match="`batch_size`"):
        evaluate(index, queries, qrels, batch_size=0)
    with pytest.raises(EvaluationError, match="queries begin with 'a', qrels with 'b'"):
        evaluate(index, queries, {"b": {"d": 1}})
    with pytest.raises(EvaluationError, match="the run begins with 'a', qrels with 'b'"):
        evaluate_run({"a": {"d": 1.0}}, {"b": {"d": 1}})
    assert index.calls == []

    class Wrong:
        def search(self, queries, k, **options):
            return [[], []]

    with pytest.raises(ArgumentError, match="a list of hits for each query"):
        evaluate(Wrong(), queries, qrels)
    nan = Scripted({"A": [("d", float("nan"))]})
    with pytest.raises(EvaluationError, match="finite"):
        evaluate(nan, queries, qrels)


def test_saved_and_read_back(tmp_path):
    queries, qrels, answers = collection(1)
    evaluation = evaluate(Scripted(answers), queries, qrels, name="mine")
    path = evaluation.to_json(tmp_path / "e.json")
    assert Evaluation.read_json(path) == evaluation
    assert json.loads(path.read_text())["counts"]["without_relevant"] == 1
    table = list(csv.DictReader(evaluation.to_csv(tmp_path / "e.csv").open()))
    assert len(table) == 40 and list(table[0]) == ["query_id", *evaluation.metrics]
    for row in table:
        values = {name: float(row[name]) for name in evaluation.metrics}
        assert values == evaluation.per_query[row["query_id"]]
    assert sorted(os.listdir(tmp_path)) == ["e.csv", "e.json"]
    for bad in ("[]", "{}", "{", '{"metrics": 5}'):
        path.write_text(bad)
        with pytest.raises(EvaluationError):
            Evaluation.read_json(path)
    with pytest.raises(EvaluationError, match="cannot be read"):
        Evaluation.read_json(tmp_path / "missing")


def test_compare(tmp_path):
    _, qrels, answers = collection(2)
    run = {f"q{i}": dict(answers[f"text {i}"]) for i in range(40)}
    better = {
        query: {d: s + 0.5 * (qrels[query].get(d, 0) > 0) for d, s in scores.items()}
        for query, scores in run.items()
    }
    first = evaluate_run(better, qrels, name="better")
    second = evaluate_run(run, qrels, name="base")
    table = first.compare(second)
    assert [row.metric for row in table.rows] == list(first.metrics)
    for row in table.rows:
        pairs = [(first.per_query[q][row.metric], second.per_query[q][row.metric]) for q in qrels]
        assert row.first == first.metrics[row.metric] and row.second == second.metrics[row.metric]
        assert row.difference == pytest.approx(row.first - row.second)
        assert row.wins == sum(a > b for a, b in pairs) and row.losses == sum(
            a < b for a, b in pairs
        )
        assert row.wins + row.losses + row.ties == 40
        assert row.p_value <= row.p_holm <= 1
    assert table["nDCG@10"].p_holm < 0.01 and table["nDCG@10"].wins > 20
    assert table["R@100"].ties == 40 and table["R@100"].p_value == 1.0

    back = second.compare(first)
    assert back["AP"].difference == -table["AP"].difference
    assert (back["AP"].wins, back["AP"].losses) == (table["AP"].losses, table["AP"].wins)
    assert first.compare(second) == table and first.compare(first)["AP"].p_value == 1.0

    alone = first.compare(second, metrics=["map"])
    assert len(alone.rows) == 1 and alone["AP"].p_holm == alone["AP"].p_value
    stats = pytest.importorskip("scipy.stats")
    by_t = first.compare(second, test="t")["AP"].p_value
    pairs = [[e.per_query[q]["AP"] for q in qrels] for e in (first, second)]
    assert by_t == pytest.approx(stats.ttest_rel(*pairs).pvalue, rel=1e-9)

    assert "better" in str(table) and "40 queries; randomization test" in str(table)
    assert json.loads(json.dumps(table.to_dict()))["rows"][0]["metric"] == "nDCG@10"
    rows = list(csv.DictReader(table.to_csv(tmp_path / "c.csv").open()))
    assert float(rows[3]["p_holm"]) == table["AP"].p_holm and rows[3]["metric"] == "AP"


def test_what_cannot_be_compared():
    qrels = {"a": {"d": 1}, "b": {"d": 1}}
    first = evaluate_run({"a": {"d": 1.0}}, qrels, metrics="RR", name="x")
    other = evaluate_run({"a": {"d": 1.0}}, {"a": {"d": 1}}, metrics="RR", name="y")
    with pytest.raises(EvaluationError, match="1 are only in 'x' and 0 only in 'y'"):
        first.compare(other)
    other = evaluate_run({"a": {"d": 1.0}}, qrels, metrics="AP", name="y")
    with pytest.raises(EvaluationError, match="must share a metric; 'x' has RR, 'y' has AP"):
        first.compare(other)
    with pytest.raises(EvaluationError, match="`metrics` must be in both"):
        first.compare(replace(first, name="z"), metrics=["P@5"])
    with pytest.raises(ArgumentError, match="`test`"):
        first.compare(first, test="sign")


@pytest.mark.parametrize(("name", "judged"), [("scifact", 300), ("cranfield", 225)])
def test_public_collections_can_be_read(name, judged):
    folder = DATA / name
    if not folder.exists():
        pytest.skip("the public collections are not here")
    qrels = read_qrels(folder / "qrels" / "test.tsv")
    assert len(qrels) == judged
    perfect = {q: {d: float(level) for d, level in levels.items()} for q, levels in qrels.items()}
    evaluation = evaluate_run(perfect, qrels)
    assert evaluation.metrics["nDCG@10"] == pytest.approx(1.0)
    assert evaluation.metrics["RR@10"] == 1.0


def test_import_is_cheap():
    code = (
        "import sys, retrieval_index.evaluation; "
        "sys.exit(any(m in sys.modules for m in ('numpy', 'scipy', 'rich', 'faiss', 'keras')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
