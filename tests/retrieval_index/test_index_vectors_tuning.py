"""Search parameters by measurement."""

import sys

import numpy as np
import pytest
from vectors_samples import COUNT, build_index, clustered, nearest, recall_of

from retrieval_index.errors import ArgumentError, RetrievalIndexError
from retrieval_index.maintenance.tuning import plot_tuning
from retrieval_index.vectors.tuning import tune

ROWS = clustered(COUNT)
TUNED_ON = clustered(60, seed=1)
HELD_OUT = clustered(60, seed=2)


@pytest.mark.parametrize("kind", ["HNSW16,SQ8", "IVF64,Flat", "IVF64_HNSW8,SQ8", "IVF64,PQ16x4fs"])
def test_the_recall_reported_is_that_of_the_parameters(kind, tmp_path):
    searcher = build_index(tmp_path, ROWS, kind)
    found = tune(searcher, TUNED_ON, k=5, recall=0.9)
    assert found.met and found.recall >= 0.9 and found.queries == 60 and found.k == 5
    assert set(found.parameters) == set(searcher.parameters)
    tuned = searcher.with_parameters(found.parameters)
    truth = nearest(ROWS, TUNED_ON, 5)[1]
    assert recall_of(tuned.search(TUNED_ON, 5)[1], truth) == pytest.approx(found.recall)
    held_out = recall_of(tuned.search(HELD_OUT, 5)[1], nearest(ROWS, HELD_OUT, 5)[1])
    assert held_out == pytest.approx(found.recall, abs=0.1)
    # The fastest of those with enough recall.
    assert found.milliseconds == min(p.milliseconds for p in found.points if p.recall >= 0.9)


def test_optimal_points_are_those_no_other_beats(tmp_path):
    points = tune(build_index(tmp_path, ROWS, "IVF64,RaBitQ"), TUNED_ON).points
    assert [p.recall for p in points] == sorted(p.recall for p in points)
    assert len({tuple(p.parameters.items()) for p in points}) == len(points) > 10
    for point in points:
        beaten = any(
            other.recall >= point.recall and other.milliseconds < point.milliseconds
            for other in points
        )
        assert point.optimal != beaten
    # More candidates never lose recall, for lists as many.
    for nprobe in (4, 16):
        same = [p for p in points if p.parameters["nprobe"] == nprobe]
        same.sort(key=lambda p: p.parameters["k_factor"])
        assert [p.recall for p in same] == sorted(p.recall for p in same)


def test_a_flat_index_has_one_point(tmp_path):
    found = tune(build_index(tmp_path, ROWS, "Flat"), TUNED_ON, recall=1.0)
    assert (found.parameters, found.recall, found.met, len(found.points)) == ({}, 1.0, True, 1)


def test_full_recall_is_reached_by_probing_every_list(tmp_path):
    found = tune(build_index(tmp_path, ROWS, "IVF64,Flat"), TUNED_ON, recall=1.0)
    assert found.met and found.recall == 1.0


def test_a_latency_that_excludes_the_recall_decides(tmp_path):
    searcher = build_index(tmp_path, ROWS, "IVF64,Flat")
    found = tune(searcher, TUNED_ON, recall=1.0, latency=1e-9)
    assert not found.met and "1e-09 ms" in found.reason
    assert found.milliseconds == min(p.milliseconds for p in found.points)
    assert tune(searcher, TUNED_ON, recall=0.9, latency=1e9).met


def test_queries_that_are_rows_ignore_themselves(tmp_path):
    searcher = build_index(tmp_path, ROWS, "IVF64,Flat")
    own = np.arange(50)
    alone = tune(searcher, ROWS[:50], k=1, recall=1.0)
    assert alone.points[0].recall == 1.0  # a row finds itself in the first list
    left_out = tune(searcher, ROWS[:50], k=1, recall=1.0, exclude=own)
    assert left_out.points[0].recall < 1.0
    truth = nearest(ROWS, ROWS[:50], 2)[1][:, 1]
    found = searcher.with_parameters(left_out.points[0].parameters).search(ROWS[:50], 2)[1]
    hits = [truth[n] in row[row != n][:1] for n, row in enumerate(found)]
    assert np.mean(hits) == pytest.approx(left_out.points[0].recall)


def test_equal_rows_cost_no_recall(tmp_path):
    searcher = build_index(tmp_path, np.tile(clustered(50), (40, 1)), "IVF16,SQ8")
    assert tune(searcher, TUNED_ON, k=10, recall=0.9).recall >= 0.9


def test_wrong_arguments_are_refused(tmp_path):
    searcher = build_index(tmp_path, ROWS[:10], "Flat")
    for wrong, message in (
        ({"queries": TUNED_ON[:0]}, "`queries` must be at least 1"),
        ({"recall": 0}, "`recall`"),
        ({"latency": 0}, "`latency`"),
        ({"k": 11}, "`k` is 11, but the index has 10 rows"),
        ({"k": 10, "exclude": np.arange(60)}, "`k` is 10"),
        ({"k": 5, "exclude": np.arange(3)}, "`exclude`"),
    ):
        with pytest.raises(ArgumentError, match=message):
            tune(searcher, **{"queries": TUNED_ON, **wrong})


def test_the_plot_is_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    found = tune(build_index(tmp_path, ROWS, "IVF64,SQ8"), TUNED_ON)
    plot_tuning(found, tmp_path / "tuning.png", title="IVF64,SQ8")
    data = (tmp_path / "tuning.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 10_000


def test_a_plot_without_matplotlib_says_what_to_install(tmp_path, monkeypatch):
    found = tune(build_index(tmp_path, ROWS[:50], "Flat"), TUNED_ON)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(RetrievalIndexError, match="pip install"):
        plot_tuning(found, tmp_path / "tuning.png")
