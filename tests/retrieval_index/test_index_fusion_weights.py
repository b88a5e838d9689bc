"""Weights from judgements: what is tried, what is chosen, what is reported."""

import random

import pytest

from retrieval_index.errors import ArgumentError
from retrieval_index.evaluation.metrics import parse_metric, ranked
from retrieval_index.fusion import METHODS, ReciprocalRank, fuse_runs
from retrieval_index.fusion_weights import tune_weights


def collection(count=40, lifts=(0.1, 0.6), seed=0):
    """Runs that lift the relevant documents of each query above chance by a part of the range."""
    rng = random.Random(seed)
    qrels = {
        f"q{i}": {f"d{rng.randrange(80)}": rng.choice([1, 2]) for _ in range(3)}
        for i in range(count)
    }
    runs = []
    for lift in lifts:
        run = {}
        for query, judged in qrels.items():
            hits = {f"d{rng.randrange(80)}": rng.random() for _ in range(30)}
            hits |= {d: rng.random() + lift for d in judged if rng.random() < 0.8}
            run[query] = hits
        runs.append(run)
    return runs, qrels


def mean(run, qrels, metric="nDCG@10"):
    measure = parse_metric(metric)
    values = [measure(ranked(run.get(q, {})), judged) for q, judged in qrels.items()]
    return sum(values) / len(values)


@pytest.mark.parametrize("metric", ["nDCG@10", "RR@10", "R@20", "AP"])
def test_the_reported_figures_are_those_of_the_fused_runs(metric):
    runs, qrels = collection()
    found = tune_weights(runs, qrels, metric)
    assert found.runs == pytest.approx([mean(run, qrels, metric) for run in runs])
    assert found.queries == 40 and found.metric == metric
    for name, method in found.methods.items():
        again = mean(fuse_runs(runs, name, method.weights), qrels, metric)
        assert method.tuned == pytest.approx(again)
        assert method.equal == pytest.approx(mean(fuse_runs(runs, name), qrels, metric))
        assert method.tuned >= method.equal
        assert sum(method.weights) == pytest.approx(1)
    best = max(method.tuned for method in found.methods.values())
    assert found.methods[found.method].tuned == best
    assert found.weights == found.methods[found.method].weights


@pytest.mark.parametrize("method", sorted(METHODS))
def test_no_weights_of_the_grid_are_better(method):
    runs, qrels = collection()
    found = tune_weights(runs, qrels, methods=[method], step=0.25).methods[method]
    grid = [(i / 4, 1 - i / 4) for i in range(5)]
    figures = {pair: mean(fuse_runs(runs, method, pair), qrels) for pair in grid}
    assert found.tuned == pytest.approx(max(figures.values()))
    assert figures[found.weights] == pytest.approx(max(figures.values()))


def test_a_run_of_chance_gets_little_weight_and_a_perfect_one_much():
    runs, qrels = collection(lifts=(-0.5, 2.0))
    found = tune_weights(runs, qrels)
    assert found.weights[1] >= 0.7
    assert found.held_out > max(method.equal for method in found.methods.values())


def test_the_held_out_figure_is_that_of_folds_by_hand():
    import numpy as np

    runs, qrels = collection(count=23)
    found = tune_weights(runs, qrels, methods=["rrf"], step=0.5, folds=3, seed=7)
    queries = list(qrels)
    grid = [(0.5, 0.5), (0.0, 1.0), (1.0, 0.0)]  # nearest to equal first
    scores = [
        [mean({q: fuse_runs(runs, "rrf", pair)[q]}, {q: qrels[q]}) for pair in grid]
        for q in queries
    ]
    place = np.random.default_rng(7).permutation(23)
    total = 0.0
    for fold in range(3):
        test = {int(p) for p in place[fold::3]}
        train = [scores[i] for i in range(23) if i not in test]
        best = max(range(3), key=lambda column: (sum(row[column] for row in train), -column))
        total += sum(scores[i][best] for i in test)
    assert found.held_out == pytest.approx(total / 23)
    assert found.methods["rrf"].held_out == found.held_out


def test_noise_is_not_reported_as_gain():
    """On runs of pure chance, tuning finds a gain on its own queries and none on others."""
    gains, honest = [], []
    for seed in range(40):
        rng = random.Random(seed)
        qrels = {f"q{i}": {f"d{rng.randrange(40)}": 1 for _ in range(4)} for i in range(30)}
        runs = [{q: {f"d{i}": rng.random() for i in range(40)} for q in qrels} for _ in range(2)]
        found = tune_weights(runs, qrels, methods=["min-max"])
        gains.append(found.methods["min-max"].tuned - found.methods["min-max"].equal)
        honest.append(found.held_out - found.methods["min-max"].equal)
    assert sum(gains) / 40 > 0.01
    assert abs(sum(honest)) < sum(gains) / 2


def test_weights_that_do_equally_well_are_equal_ones():
    _, qrels = collection()
    same = {query: dict.fromkeys(judged, 1.0) for query, judged in qrels.items()}
    found = tune_weights([same, same], qrels)
    assert (found.method, found.weights) == ("rrf", (0.5, 0.5))
    assert found.held_out == found.runs[0]


def test_three_runs_have_a_grid_with_the_equal_weights_in_it():
    runs, qrels = collection(lifts=(0.3, 0.3, 0.3))
    found = tune_weights(runs, qrels, step=0.5, methods={"mine": ReciprocalRank(k=10)})
    assert list(found.methods) == ["mine"] and len(found.weights) == 3
    expected = mean(fuse_runs(runs, ReciprocalRank(k=10)), qrels)
    assert found.methods["mine"].equal == pytest.approx(expected)


def test_queries_without_hits_count_as_nothing_and_without_judgements_not_at_all():
    runs, qrels = collection(count=10)
    before = tune_weights(runs, qrels, folds=2)
    for run in runs:
        del run["q0"]
        run["unjudged"] = {"d1": 1.0}
    after = tune_weights(runs, {**qrels, "irrelevant": {"d1": 0}}, folds=2)
    assert after.queries == before.queries == 10
    assert after.runs[0] == pytest.approx(mean(runs[0], qrels))


def test_the_same_seed_gives_the_same_outcome():
    runs, qrels = collection()
    assert tune_weights(runs, qrels, seed=3) == tune_weights(runs, qrels, seed=3)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"metric": "ndcg@ten"}, "`metrics`"),
        ({"methods": "rrf"}, "`methods`"),
        ({"methods": []}, "`methods`"),
        ({"methods": ["borda"]}, "`method`"),
        ({"step": 0.3}, "`step`"),
        ({"step": 0}, "`step`"),
        ({"step": 0.0001}, "`step`.*longer"),
        ({"folds": 1}, "`folds`"),
        ({"folds": 41}, "`folds`.*40"),
        ({"qrels": {}}, "`folds`"),
        ({"qrels": {f"x{i}": {"d1": 1} for i in range(9)}}, "other ids"),
    ],
)
def test_wrong_arguments_are_named(options, word):
    runs, qrels = collection()
    if "step" in options:
        runs = runs * 2
    with pytest.raises(ArgumentError, match=word):
        tune_weights(**{"runs": runs, "qrels": qrels, **options})


def test_one_run_cannot_be_weighted():
    runs, qrels = collection()
    with pytest.raises(ArgumentError, match="`runs`"):
        tune_weights(runs[:1], qrels)
