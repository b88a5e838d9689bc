"""Damaged corpora: named errors and counted problems, nothing else (benchmarks/fuzz_corpus.py)."""

import pytest
from corpus_samples import BENCHMARKS, samples

for package in ("pypdf", "pyarrow", "rich", "zstandard"):
    pytest.importorskip(package)


@pytest.fixture
def fuzz(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import fuzz_corpus

    return fuzz_corpus


def test_a_few_hundred_damaged_files(fuzz):
    names = list(samples.SAMPLES)
    outcomes, complaints, _ = fuzz.run(names, 20 * len(names), seed=3)
    assert complaints == []
    total = sum(outcomes.values(), start=fuzz.Counter())
    assert total.total() == 20 * len(names)
    # Damage that is never noticed, or always, would say that the cases are no good.
    assert min(total[kind] for kind in ("clean", "counted", "refused")) > 50


def test_undamaged_samples_are_clean(fuzz, tmp_path):
    for name, (make, pack) in samples.SAMPLES.items():
        path = tmp_path / name
        path.write_bytes(pack(make()) if pack else make())
        assert fuzz.read(path) == ("clean", ""), name


def test_what_is_bad_is_told(fuzz, monkeypatch, capsys):
    def explode(corpus):
        raise ZeroDivisionError("by the test")

    monkeypatch.setattr(fuzz, "open_corpus", explode)
    outcomes = fuzz.main(["--cases", "3", "--only", "a.md"])
    assert outcomes["a.md"] == {"bad": 3}
    assert "ZeroDivisionError: by the test" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_cases(fuzz):
    data = samples.jsonl()
    made = [fuzz.damaged(data, None, [data], fuzz.random.Random("5")) for _ in range(2)]
    assert made[0] == made[1] != data
