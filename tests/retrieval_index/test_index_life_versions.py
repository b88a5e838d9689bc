"""Versions of an index: snapshots, merging, export, and readers beside a writer."""

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from index_helpers import TableEncoder, numbered
from life_model import SETTINGS, WORDS, files, ids, search

import retrieval_index
from retrieval_index import (
    ArgumentError,
    BuildLockedError,
    CorruptIndexError,
    Document,
    IndexNotFoundError,
    build,
)
from retrieval_index.storage.manifest import read_manifest
from retrieval_index.storage.workspace import exclusive

QUERIES = ["Document number 7", "topic 33", "number 12 speaks of topic 5"]


@pytest.fixture
def path(tmp_path):
    build(numbered(20), tmp_path / "i", TableEncoder()).close()
    return tmp_path / "i"


# --- snapshots -----------------------------------------------------------------------------------


def test_snapshot_answers_as_then(path):
    old = search(path, QUERIES, k=30)
    retrieval_index.snapshot(path, "v1")
    retrieval_index.delete(path, ["d1", "d2"])
    retrieval_index.update(path, [("d3", "Changed."), ("n", "New.")], TableEncoder())
    retrieval_index.compact(path)
    with retrieval_index.open(path, TableEncoder(), snapshot="v1") as index:
        assert index.search(QUERIES, k=30) == old
    (entry,) = retrieval_index.snapshots(path)
    assert (entry["name"], entry["version"], entry["documents"]) == ("v1", 1, 20)
    assert len(list((path / "segments").iterdir())) == 2
    retrieval_index.restore(path, "v1")
    assert search(path, QUERIES, k=30) == old
    with retrieval_index.open(path) as index:
        assert index.version == 5  # versions go on, whatever is in them
    retrieval_index.drop_snapshot(path, "v1")
    assert retrieval_index.snapshots(path) == [] and search(path, QUERIES, k=30) == old
    kept = {e.path for e in read_manifest(path).all_files()} | {"manifest.json"}
    assert set(files(path)) == kept


def test_names_of_snapshots(path):
    for bad in ("", "../x", ".x", "a/b", "x" * 101, None):
        with pytest.raises(ArgumentError, match="`name` must be"):
            retrieval_index.snapshot(path, bad)
    retrieval_index.snapshot(path, "a")
    with pytest.raises(ArgumentError, match="already"):
        retrieval_index.snapshot(path, "a")
    for call in (retrieval_index.restore, retrieval_index.drop_snapshot):
        with pytest.raises(IndexNotFoundError, match=r"\(a\); received: 'b'"):
            call(path, "b")
    with pytest.raises(IndexNotFoundError, match="received: 'b'"):
        retrieval_index.open(path, snapshot="b")


def test_verify_reads_snapshots_too(path):
    assert retrieval_index.verify(path)["snapshots"] == 0
    retrieval_index.snapshot(path, "v1")
    retrieval_index.delete(path, ["d1", "d2"])
    retrieval_index.snapshot(path, "v2")
    found = retrieval_index.verify(path)
    assert found["snapshots"] == 2 and found["segments"] == 1
    manifests = 1 + 2
    assert found["files"] == len(files(path)) - manifests  # shared ones are counted once
    retrieval_index.compact(path)
    segments = sorted((path / "segments").iterdir())
    assert len(segments) == 2 and retrieval_index.verify(path)["documents"] == 18
    flipped = segments[0] / "vectors.faiss"
    data = bytearray(flipped.read_bytes())
    data[-1] ^= 1
    flipped.write_bytes(bytes(data))
    with pytest.raises(CorruptIndexError, match=r"Snapshot 'v1': .*vectors\.faiss has SHA-256"):
        retrieval_index.verify(path)
    retrieval_index.drop_snapshot(path, "v1")
    with pytest.raises(CorruptIndexError, match="Snapshot 'v2'"):
        retrieval_index.verify(path)
    retrieval_index.drop_snapshot(path, "v2")
    assert retrieval_index.verify(path)["documents"] == 18


def test_verify_finds_damaged_deletions_of_a_snapshot(path):
    retrieval_index.delete(path, ["d1"])
    retrieval_index.snapshot(path, "v1")
    retrieval_index.delete(path, ["d2"])
    first, _ = sorted((path / "deleted").iterdir())
    first.write_bytes((2).to_bytes(4, "little"))  # another document of the same segment
    with pytest.raises(CorruptIndexError, match=f"Snapshot 'v1': .*{first.name} has SHA-256"):
        retrieval_index.verify(path)


# --- merging and export --------------------------------------------------------------------------


def test_merge_keeps_the_first_of_an_id(tmp_path):
    build([("a", "First a."), ("b", "Only b.")], tmp_path / "1", TableEncoder()).close()
    build([("a", "Second a."), ("c", "Only c.")], tmp_path / "2", TableEncoder()).close()
    retrieval_index.add(tmp_path / "2", [("b", "Late b.")], TableEncoder())
    merged = retrieval_index.merge([tmp_path / "1", tmp_path / "2"], tmp_path / "out")
    assert merged.report.skipped == {"duplicate_id": 2} and merged.report.encoded_chunks == 0
    assert {d.id: d.text for d in merged.documents()} == {
        "a": "First a.", "b": "Only b.", "c": "Only c.",
    }  # fmt: skip
    assert retrieval_index.verify(tmp_path / "out")["segments"] == 1
    assert [d.id for d in retrieval_index.open(tmp_path / "2").documents()] == ["a", "c", "b"]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"encoder": TableEncoder(fingerprint="table-2")}, "encoder"),
        ({"chunk_size": 9}, "chunker"),
        ({"language": "de"}, "lexical"),
    ],
)
def test_merge_of_unlike_indexes_is_refused(tmp_path, settings, message):
    build(numbered(3), tmp_path / "1", TableEncoder()).close()
    encoder = settings.pop("encoder", TableEncoder())
    build(numbered(3), tmp_path / "2", encoder, **settings).close()
    with pytest.raises(ArgumentError, match=f"`paths`: the {message} of"):
        retrieval_index.merge([tmp_path / "1", tmp_path / "2"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("format", ["npy", "parquet"])
def test_export_and_build_again(tmp_path, format):
    corpus = [
        Document(f"d{i}", " ".join(WORDS[: 3 + i]), f"T{i}" if i % 2 else "", {"n": i, "x": [None]})
        for i in range(9)
    ]
    path, out = tmp_path / "i", tmp_path / "x"
    build(corpus, path, TableEncoder(), **SETTINGS).close()
    retrieval_index.delete(path, "d4")
    if format == "parquet":
        pytest.importorskip("pyarrow")
    found = retrieval_index.export(path, out, format=format)
    with retrieval_index.open(path, TableEncoder()) as index:
        blocks = list(index.passages())
        passages = [p for block, _ in blocks for p in block]
        vectors = np.concatenate([v for _, v in blocks])
        assert (found["documents"], found["passages"]) == (8, len(passages))
        if format == "npy":
            np.testing.assert_array_equal(np.load(out / "vectors.npy"), vectors)
            lines = (out / "passages.jsonl").read_text().splitlines()
            rows = [json.loads(line) for line in lines]
        else:
            import pyarrow.parquet as pq

            rows = pq.read_table(out / "passages.parquet").to_pylist()
            np.testing.assert_array_equal(np.array([r["vector"] for r in rows], "f4"), vectors)
            assert [r["text"] for r in rows] == [p.text for p in passages]
        assert [(r["document_id"], r["start"], r["end"], r["heading"]) for r in rows] == [
            (p.document_id, p.start, p.end, p.heading) for p in passages
        ]
        # What was exported makes the same index.
        again = build(out / "corpus.jsonl", tmp_path / "j", TableEncoder(), **SETTINGS)
        assert list(again.documents()) == list(index.documents())
        for one, other in zip(index.search(WORDS[:3], k=9), again.search(WORDS[:3], k=9),
                              strict=True):  # fmt: skip
            assert ids(one) == ids(other)
            np.testing.assert_allclose([h.score for h in one], [h.score for h in other], atol=1e-5)
    with pytest.raises(ArgumentError, match="new folder"):
        retrieval_index.export(path, out)


# --- one writer, many readers --------------------------------------------------------------------


def hold(folder, ready, leave):
    with exclusive(Path(folder)):
        ready.set()
        leave.wait(60)


def test_second_writer_is_told_who_is_first(path):
    processes = multiprocessing.get_context("spawn")
    ready, leave = processes.Event(), processes.Event()
    folder = str(path.with_name(f".{path.name}.building"))
    holder = processes.Process(target=hold, args=(folder, ready, leave))
    holder.start()
    try:
        assert ready.wait(60)
        for change in (
            lambda: retrieval_index.add(path, [("n", "New.")], TableEncoder()),
            lambda: retrieval_index.delete(path, "d1"),
            lambda: retrieval_index.compact(path),
            lambda: retrieval_index.snapshot(path, "s"),
        ):
            with pytest.raises(BuildLockedError, match=rf"process {holder.pid} on "):
                change()
        assert len(search(path, "Document", k=50)) == 20  # reading needs no lock
    finally:
        leave.set()
        holder.join()
    assert retrieval_index.delete(path, "d1") == 1


def test_reader_of_a_version_that_is_gone_from_the_folder(path):
    with retrieval_index.open(path, TableEncoder()) as index:
        hits, texts = index.search(QUERIES, k=30), list(index.documents())
        vectors = np.concatenate([v for _, v in index.passages()])
        retrieval_index.delete(path, [f"d{i}" for i in range(10)])
        retrieval_index.compact(path)
        assert not (path / "segments" / "s000001").exists()
        assert index.search(QUERIES, k=30) == hits
        assert list(index.documents()) == texts
        np.testing.assert_array_equal(np.concatenate([v for _, v in index.passages()]), vectors)
        assert len(index.search("topic 33", k=30, mode="lexical")) > 0
        assert index.document("d3").id == "d3"
    assert len(search(path, "Document", k=50)) == 10
