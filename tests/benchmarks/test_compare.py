"""The machinery of the benchmarks: order of runs, medians, ratios, clock, workers."""

import _compare
import pytest
from _clock import Clock


def test_sides_take_turns_and_every_second_round_runs_backwards():
    order = []

    def side(name):
        def run():
            order.append(name)
            return {"seconds": len(order)}

        return run

    results = _compare.interleave({name: side(name) for name in "abc"}, repeats=3)
    assert "".join(order) == "abccbaabc"
    assert [run["seconds"] for run in results["a"]] == [1, 6, 7]
    assert [run["seconds"] for run in results["c"]] == [3, 4, 9]
    with pytest.raises(ValueError, match="`repeats`"):
        _compare.interleave({}, 0)


def test_medians_pass_over_what_was_not_measured():
    runs = [{"a": 3.0, "b": None}, {"a": 1.0, "b": 4.0}, {"a": 100.0}]
    assert _compare.medians(runs, ["a", "b", "c"]) == {"a": 3.0, "b": 4.0, "c": None}


@pytest.mark.parametrize(
    ("ours", "peer", "expected"),
    [(3.0, 2.0, 1.5), (None, 2.0, None), (3.0, None, None), (3.0, 0.0, None)],
)
def test_ratio(ours, peer, expected):
    assert _compare.ratio(ours, peer) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0"), (0.123456, "0.1235"), (76038.0, "76038"), (2.8e-7, "2.8e-07")],
)
def test_numbers_for_people(value, text):
    assert _compare.shown(value) == text


def test_table_leaves_out_rows_without_figures_and_shows_the_ratio():
    made = _compare.table(
        "T",
        [("a", "first"), ("b", "second")],
        {"kzoo": {"a": 3.0, "b": None}, "peer": {"a": 2.0, "b": None}},
        ("kzoo", "peer"),
    )
    assert made.row_count == 1
    assert [list(column.cells) for column in made.columns] == [["first"], ["3"], ["2"], ["1.5"]]


def test_clock_counts_the_first_epoch_from_its_start(monkeypatch):
    ticks = iter([(0.0, 0.0), (5.0, 8.0), (6.0, 9.0), (7.0, 10.0), (9.0, 13.0), (10.0, 14.0)])
    monkeypatch.setattr("_clock._now", lambda: next(ticks))
    clock = Clock()
    clock.step()
    clock.epoch()
    clock.step()
    clock.epoch()
    found = clock.stop()
    assert (found["first_step"], found["first_epoch"], found["later_epochs"]) == (5.0, 6.0, 3.0)
    assert (found["total"], found["cpu_total"], found["steps"]) == (10.0, 14.0, 2.0)


def test_a_worker_answers_on_its_last_line(tmp_path, monkeypatch):
    monkeypatch.setattr(_compare, "HERE", tmp_path)
    script = "import json, sys\nprint('noise')\nprint(json.dumps(json.load(sys.stdin)))"
    (tmp_path / "echo.py").write_text(script)
    assert _compare.run_worker("echo.py", {"a": 1}, threads=3) == {"a": 1, "threads": 3}


@pytest.mark.parametrize("script", ["raise ValueError('what went wrong')", "print('no JSON')", ""])
def test_a_worker_that_fails_says_why(script, tmp_path, monkeypatch):
    monkeypatch.setattr(_compare, "HERE", tmp_path)
    (tmp_path / "bad.py").write_text(script)
    with pytest.raises(_compare.WorkerError, match=r"bad\.py ended with code") as caught:
        _compare.run_worker("bad.py", {})
    assert "what went wrong" in str(caught.value) or "ValueError" not in script
