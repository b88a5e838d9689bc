"""Metrics: equal to trec_eval's on random runs, and to hand-made figures."""

import math
import random

import pytest

from retrieval_index.errors import ArgumentError
from retrieval_index.evaluation.metrics import Metric, ndcg, parse_metric, parse_metrics, ranked

# our name, the request to pytrec_eval, its name in the answer
NAMES = [
    ("nDCG@10", "ndcg_cut.10", "ndcg_cut_10"),
    ("nDCG@3", "ndcg_cut.3", "ndcg_cut_3"),
    ("nDCG", "ndcg", "ndcg"),
    ("RR", "recip_rank", "recip_rank"),
    ("AP", "map", "map"),
    ("AP@4", "map_cut.4", "map_cut_4"),
    ("R@5", "recall.5", "recall_5"),
    ("R@100", "recall.100", "recall_100"),
    ("P@5", "P.5", "P_5"),
    ("P@20", "P.20", "P_20"),
    ("Success@1", "success.1", "success_1"),
    ("Success@5", "success.5", "success_5"),
]


def random_case(rng):
    """Qrels and a run with ties, levels below 1, unjudged documents, and empty sides."""
    documents = [
        f"{prefix}{i}" for prefix in ("d", "D", "é", "9") for i in range(rng.randint(1, 8))
    ]
    levels = rng.choice([(0, 1), (0, 1, 2, 3), (-1, 0, 1, 2), (0,)])
    kind = rng.choice(["ties", "floats", "close"])

    def score():
        if kind == "ties":
            return float(rng.randint(-2, 2))
        if kind == "close":  # differences that 32 bits cannot hold
            return 1.0 + rng.randint(0, 3) * 1e-8
        return rng.gauss(0, 1)

    judged = rng.sample(documents, rng.randint(1, len(documents)))
    found = rng.sample(documents, rng.randint(0, len(documents)))
    return {d: rng.choice(levels) for d in judged}, {d: score() for d in found}


@pytest.mark.parametrize("rel", [1, 2])
def test_equal_to_trec_eval(rel):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    rng = random.Random(rel)
    cases = {f"q{i}": random_case(rng) for i in range(1500)}
    qrels = {query: judged for query, (judged, _) in cases.items()}
    run = {query: scores for query, (_, scores) in cases.items()}
    names = [row for row in NAMES if rel == 1 or not row[0].startswith("nDCG")]
    wanted = {request for _, request, _ in names}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, wanted, relevance_level=rel).evaluate(run)
    assert theirs.keys() == cases.keys()
    for ours, _, their in names:
        metric = parse_metric(ours)
        metric = Metric(metric.family, metric.cutoff, rel)
        for query, (judged, scores) in cases.items():
            value = metric(ranked(scores), judged)
            assert value == pytest.approx(theirs[query][their], abs=1e-6), (ours, query)


def test_cut_reciprocal_rank_is_trec_evals_of_the_cut_run():
    pytrec_eval = pytest.importorskip("pytrec_eval")
    rng = random.Random(3)
    for _ in range(300):
        judged, scores = random_case(rng)
        k = rng.randint(1, 6)
        cut = {d: scores[d] for d in ranked(scores)[:k]}
        theirs = pytrec_eval.RelevanceEvaluator({"q": judged}, {"recip_rank"}).evaluate({"q": cut})
        value = parse_metric(f"RR@{k}")(ranked(scores), judged)
        assert value == pytest.approx(theirs["q"]["recip_rank"], abs=1e-6)


def test_ties_go_to_the_last_id():
    assert ranked({"a": 1.0, "c": 1.0, "b": 1.0, "z": 0.5}) == ["c", "b", "a", "z"]
    assert ranked({"a": 1.0 + 1e-9, "b": 1.0}) == ["b", "a"]
    assert ranked({}) == []


def test_by_hand():
    judged = {"a": 3, "b": 2, "c": 0, "d": 1}
    ranking = ["b", "x", "a"]
    ideal = 3 + 2 / math.log2(3) + 1 / 2
    assert parse_metric("nDCG")(ranking, judged) == pytest.approx((2 + 3 / 2) / ideal)
    exponential = (3 + 7 / 2) / (7 + 3 / math.log2(3) + 1 / 2)
    assert parse_metric("nDCG(dcg='exp-log2')@10")(ranking, judged) == pytest.approx(exponential)
    assert parse_metric("RR(rel=3)")(ranking, judged) == pytest.approx(1 / 3)
    assert parse_metric("RR(rel=3)@2")(ranking, judged) == 0.0
    assert parse_metric("AP")(ranking, judged) == pytest.approx((1 + 2 / 3) / 3)
    assert parse_metric("AP@2")(ranking, judged) == pytest.approx(1 / 3)
    assert parse_metric("R(rel=2)@3")(ranking, judged) == 1.0
    assert parse_metric("P@10")(ranking, judged) == pytest.approx(0.2)
    assert parse_metric("Success@1")(ranking, judged) == 1.0


def test_perfect_order_is_1_and_nothing_relevant_is_0():
    levels = [3, 3, 2, 1, 0]
    for exponential in (False, True):
        assert ndcg(levels, levels, 4, exponential=exponential) == pytest.approx(1.0)
        assert ndcg([0, -1], [0, -1], exponential=exponential) == 0.0
    for name in ("nDCG@10", "RR", "AP", "R@5", "P@5", "Success@5"):
        assert parse_metric(name)(["a", "b"], {"a": 0}) == 0.0


@pytest.mark.parametrize(
    ("spelling", "canonical"),
    [
        ("ndcg@10", "nDCG@10"),
        ("ndcg_cut_10", "nDCG@10"),
        ("ndcg", "nDCG"),
        ("nDCG(dcg=log2)@5", "nDCG@5"),
        ('nDCG(dcg="exp-log2")@5', "nDCG(dcg='exp-log2')@5"),
        ("MRR@10", "RR@10"),
        ("recip_rank", "RR"),
        ("MAP", "AP"),
        ("map_cut_100", "AP@100"),
        ("AP( rel = 2 )@7", "AP(rel=2)@7"),
        ("recall_100", "R@100"),
        ("Recall@5", "R@5"),
        ("P_10", "P@10"),
        ("Precision@3", "P@3"),
        ("success_5", "Success@5"),
    ],
)
def test_spellings(spelling, canonical):
    metric = parse_metric(spelling)
    assert str(metric) == canonical
    assert parse_metric(str(metric)) == metric


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NDCG10", "Did you mean 'nDCG@10'"),
        ("bpref", "unknown name 'bpref'"),
        ("R", "R needs a cutoff, such as 'R@10'"),
        ("P", "P needs a cutoff"),
        ("success", "Success needs a cutoff"),
        ("RR@0", "at least 1"),
        ("RR@", "unknown"),
        ("AP@-5", "unknown"),
        ("AP(rel=0)", "N at least 1"),
        ("AP(dcg=log2)", "rel=N"),
        ("nDCG(rel=2)@10", "dcg='log2' or dcg='exp-log2'"),
        ("", "unknown"),
        (10, "received: 10"),
    ],
)
def test_bad_names(name, message):
    with pytest.raises(ArgumentError, match="`metrics`") as caught:
        parse_metric(name)
    assert message in str(caught.value)


def test_several_names():
    assert [str(m) for m in parse_metrics(("AP", "map", "RR"))] == ["AP", "RR"]
    assert [str(m) for m in parse_metrics("RR@10")] == ["RR@10"]
    with pytest.raises(ArgumentError, match="at least one"):
        parse_metrics([])
