"""Damaged indexes: only named errors come out (benchmarks/fuzz_index.py, some cases of it)."""

import argparse
from collections import Counter

import pytest
from corpus_samples import BENCHMARKS

pytest.importorskip("rich")


@pytest.fixture
def fuzz(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import fuzz_index

    return fuzz_index


def test_some_hundred_damaged_indexes(fuzz, tmp_path):
    options = argparse.Namespace(
        cases=6 * len(fuzz.expanded()), seed=5, only=None, workers=1, slow=120.0, memory=1.0
    )
    outcomes, complaints = fuzz.run(options, tmp_path)
    assert complaints == [] and fuzz.failed(outcomes) == 0
    total = sum(outcomes.values(), Counter())
    assert total.total() == options.cases
    unsigned = sum((c for row, c in outcomes.items() if row.endswith("unsigned")), Counter())
    assert unsigned["refused"] >= 0.99 * unsigned.total()
    # Damage that is always found behind the checksums would say that the cases are no good.
    assert total["clean"] > 10


def test_what_ends_a_process_is_told(fuzz, tmp_path, monkeypatch):
    import _fuzz_worker

    worker = object.__new__(fuzz.Worker)
    worker.options = argparse.Namespace(slow=120.0)
    worker.waiting = _fuzz_worker.deque([("vectors:Flat", 4), ("vectors:Flat", 5)])
    worker.since = _fuzz_worker.time.monotonic()
    restarted = []
    monkeypatch.setattr(fuzz.Worker, "start", lambda self: restarted.append(1))

    class Dead:
        exitcode = -11

        def is_alive(self):
            return False

        def join(self):
            pass

    class Empty:
        def empty(self):
            return True

    worker.process, worker.results = Dead(), Empty()
    assert list(worker.found()) == [("vectors:Flat", 4, "crash", "SIGSEGV")]
    assert restarted == [1] and list(worker.waiting) == [("vectors:Flat", 5)]
    assert fuzz.failed({"documents:Flat, signed": Counter(crash=1, refused=9)}) == 1
