"""`benchmarks/index_scale.py` from end to end on few vectors, and the vectors themselves."""

import json
import math

import index_scale
import numpy as np
import pytest
from _scale_vectors import BLOCK, Mixture, MixtureEncoder, tiny_documents, worded_documents
from _scale_worker import recall_of, sample


def test_sides_are_measured_and_remembered(tmp_path, monkeypatch, capsys):
    argv = ["--sizes", "600", "--dimension", "16", "--queries", "40", "--peers", "faiss", "--work"]
    argv += [str(tmp_path / "work"), "--kinds", "IVF{K},SQ8", "--json", str(tmp_path / "out.json")]
    found = index_scale.main(argv)
    ours, peer = found["rows"]
    assert (ours["side"], peer["side"]) == ("kzoo", "FAISS")
    assert ours["factory"] == peer["factory"] == "IVF8,SQ8"
    assert ours["parameters"] == peer["parameters"]
    for row in found["rows"]:
        assert 0.7 <= row["recall"] <= 1
        assert min(row["seconds"], row["bytes"], row["batch_queries_a_second"]) > 0
    assert ours["search_vectors_recall"] == ours["recall"]
    assert ours["files"]["vectors.f32"] == 600 * 16 * 4
    (reader,) = found["reader"]
    assert reader["with BM25"]["bytes"] > reader["without BM25"]["bytes"] > 600 * 200
    assert not (tmp_path / "work" / "index").exists()
    assert json.loads((tmp_path / "out.json").read_text())["rows"] == found["rows"]

    def refuse(*args):
        raise AssertionError("it ran before")

    monkeypatch.setattr("_scale_runs.run_worker", refuse)
    assert index_scale.main(argv)["rows"] == found["rows"]
    assert "600 vectors" in capsys.readouterr().out


def test_growth_is_an_exponent():
    rows = [
        {"side": "kzoo", "kind": "auto", "size": 100, "seconds": 2.0},
        {"side": "kzoo", "kind": "auto", "size": 1000, "seconds": 40.0},
    ]
    found = index_scale.exponents(rows)
    assert found == {"kzoo auto": {"100 to 1000": pytest.approx(math.log10(20))}}


def test_kinds_are_spelled_for_a_size():
    assert index_scale.spelled("auto", 10_000, 384) is None
    assert index_scale.spelled("IVF{K},PQ{M}x4fs", 1_000_000, 384) == "IVF4096,PQ96x4fs"


def test_rows_of_a_mixture_depend_on_seed_and_number_alone():
    count = BLOCK + 500
    mixture, other = Mixture(count, 24, seed=3), Mixture(count, 24, seed=3)
    rows = np.concatenate(list(mixture.blocks()))
    assert rows.shape == (count, 24) and rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(other.block(1), rows[BLOCK:])
    assert not np.array_equal(Mixture(count, 24, seed=4).block(0), rows[:BLOCK])
    chosen = ["7", str(BLOCK + 3), "0"]
    found = MixtureEncoder(other).encode_documents(chosen, [""] * 3)
    np.testing.assert_array_equal(found, rows[[7, BLOCK + 3, 0]])
    queries = mixture.queries(50)
    assert (queries @ rows.T).max() < 0.999  # other vectors, near the same centres
    assert np.median((queries @ rows.T).max(axis=1)) > 0.6


def test_samples_are_rows():
    mixture = Mixture(BLOCK + 100, 8)
    rows = {row.tobytes() for block in mixture.blocks() for row in block}
    taken = sample(mixture, 300)
    assert len({row.tobytes() for row in taken}) == 300
    assert all(row.tobytes() in rows for row in taken)


def test_documents_have_the_ids_of_their_rows():
    assert list(tiny_documents(2)) == [("0", "Document 0."), ("1", "Document 1.")]
    worded = list(worded_documents(BLOCK + 2, words=5))
    assert [name for name, _ in worded] == [str(i) for i in range(BLOCK + 2)]
    assert {len(text.split()) for _, text in worded} == {5}


def test_recall():
    exact = np.arange(20).reshape(2, 10)
    found = exact.copy()
    found[1, :5] = -1
    assert recall_of(found, exact) == 0.75
