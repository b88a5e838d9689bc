"""Parts built anywhere, in any order, and broken off, are finished as the index of one machine."""

import dataclasses
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from index_helpers import TableEncoder, numbered

import retrieval_index
from retrieval_index import (
    ArgumentError,
    BuildLockedError,
    CorpusError,
    CorruptIndexError,
    EncoderMismatchError,
    IndexExistsError,
    IndexNotFoundError,
    NewerFormatError,
    RetrievalIndexWarning,
    distributed,
)
from retrieval_index.distributed.plan import Place
from retrieval_index.storage.workspace import exclusive

SMALL = {"shard_size": 8, "batch_size": 4}
LONG = {**SMALL, "chunk_size": 30, "overlap": 4}


def documents(count):
    """Documents of 1 to 9 passages, with and without titles and metadata."""
    return [
        {
            "_id": f"d{i}",
            "title": f"Title {i // 3}" if i % 2 else "",
            "text": " ".join(f"w{i * j % 997}." for j in range(1, 10 + i * 37 % 200)),
            "year": 1900 + i % 50,
        }
        for i in range(count)
    ]


def build_parts(corpus, out, number, encoder=None, ids=None, **options):
    for shard_id in range(number) if ids is None else ids:
        distributed.build_part(
            corpus, out, encoder or TableEncoder(), shard_id=shard_id, shard_num=number, **options
        )


def rows_of(index):
    """What is in the store, table by table."""
    path = index.path / index.info()["segments"][0]["files"]["documents"]["path"]
    with sqlite3.connect(path) as connection:
        return {
            table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
            for table in ("documents", "headings", "fields")
        }


def assert_same(one, other, but=()):
    """Everything but times and names is the same, the files to the byte."""
    first, second = one.info(), other.info()
    files = [info["segments"][0]["files"] for info in (first, second)]
    hashes = [
        {key: file["sha256"] for key, file in found.items() if key not in ("documents", *but)}
        for found in files
    ]
    assert hashes[0] == hashes[1] and "vectors" in hashes[0] and "chunks" in hashes[0]
    assert rows_of(one) == rows_of(other)
    for key in ("encoder", "chunker", "lexical", "options", "search", "change", "version"):
        assert first[key] == second[key], key
    vectors = [info["segments"][0]["vectors"] for info in (first, second)]
    for found in vectors:
        for key in ("milliseconds", "batch_milliseconds"):
            (found["measured"] or {}).pop(key, None)
    assert vectors[0] == vectors[1]
    reports = [
        dataclasses.replace(index.report, seconds=0, encode_seconds=0) for index in (one, other)
    ]
    assert reports[0] == reports[1]
    retrieval_index.verify(other.path)


@pytest.mark.parametrize(
    ("index", "number", "language"),
    [("Flat", 1, "en"), ("Flat", 7, None), ("IVF8,SQ8", 3, "en"), ("HNSW8", 4, None)],
)
def test_the_same_as_on_one_machine(tmp_path, index, number, language):
    corpus = documents(150)
    settings = {**LONG, "index": index, "language": language}
    one = retrieval_index.build(corpus, tmp_path / "one", TableEncoder(), **settings)
    order = sorted(range(number), key=lambda i: i * 5 % number)
    build_parts(corpus, tmp_path / "many", number, ids=order, **settings)
    many = distributed.finish(tmp_path / "many", number, encoder=TableEncoder())
    assert len(many) > 300
    assert_same(one, many)
    queries = [text["text"] for text in corpus[:20]]
    assert one.search(queries, k=5) == many.search(queries, k=5)
    if language:
        assert one.search(queries, k=5, mode="hybrid") == many.search(queries, k=5, mode="hybrid")


def test_more_parts_than_documents(tmp_path):
    corpus = numbered(3)
    one = retrieval_index.build(corpus, tmp_path / "one", TableEncoder())
    build_parts(corpus, tmp_path / "many", 5)
    assert not Place(tmp_path / "many", 4, 5).folder.exists()
    assert distributed.build_part(
        corpus, tmp_path / "many", TableEncoder(), shard_id=4, shard_num=5
    ).done_before
    assert_same(one, distributed.finish(tmp_path / "many", 5, encoder=TableEncoder()))


@pytest.mark.parametrize("duplicates", ["keep", "skip"])
def test_duplicates_are_decided_over_the_whole_corpus(tmp_path, duplicates):
    """Which entry wins depends on others that win or lose in other parts."""
    rng = np.random.default_rng(0)
    # Ids and texts from small sets: chains of "its id is free because its text was repeated".
    corpus = [
        (f"d{rng.integers(40)}", f"Text number {rng.integers(40)} of forty.") for _ in range(200)
    ]
    with pytest.warns(RetrievalIndexWarning):
        one = retrieval_index.build(corpus, tmp_path / "one", TableEncoder(), duplicates=duplicates)
    for number in (2, 3):
        out = tmp_path / f"many{number}"
        with pytest.warns(RetrievalIndexWarning):
            build_parts(corpus, out, number, duplicates=duplicates)
        many = distributed.finish(out, number, encoder=TableEncoder())
        assert many.report.skipped["duplicate_id"] > 50
        assert many.report.repeated_texts == one.report.repeated_texts > 0
        assert_same(one, many)


def test_parts_are_indexes_of_every_nth_document(tmp_path):
    corpus = documents(10)
    out = tmp_path / "i"
    part = distributed.build_part(corpus, out, TableEncoder(), shard_id=2, shard_num=4)
    assert part.path == tmp_path / "i.parts" / "part-00002-of-00004"
    assert not part.done_before and part.report.documents == 2
    with retrieval_index.open(part.path) as index:
        assert [document.id for document in index.documents()] == ["d2", "d6"]


def test_finished_parts_are_left_alone(tmp_path):
    build_parts(numbered(20), tmp_path / "i", 2, ids=[1])
    part = Place(tmp_path / "i", 1, 2).folder
    before = {path: path.stat().st_mtime_ns for path in part.rglob("*")}

    def unread():
        raise AssertionError("a finished part needs no corpus")
        yield

    again = distributed.build_part(
        unread(), tmp_path / "i", TableEncoder(), shard_id=1, shard_num=2
    )
    assert again.done_before and again.report.documents == 10
    assert {path: path.stat().st_mtime_ns for path in part.rglob("*")} == before


def test_broken_off_parts_are_resumed(tmp_path):
    out = tmp_path / "i"
    with pytest.raises(RuntimeError, match="the encoder broke"):
        build_parts(numbered(100), out, 2, TableEncoder(fail_after=24), ids=[0], **SMALL)
    place = Place(out, 0, 2)
    assert not place.folder.exists() and place.workspace.exists()
    encoder = TableEncoder()
    build_parts(numbered(100), out, 2, encoder, **SMALL)
    assert encoder.encoded == 100 - 24 and not place.workspace.exists()
    index = distributed.finish(out, 2, encoder=encoder)
    assert index.report.reused_chunks == 24 and index.report.encoded_chunks == 76
    one = retrieval_index.build(numbered(100), tmp_path / "one", TableEncoder())
    assert index.search(["topic 5"], k=100) == one.search(["topic 5"], k=100)


def test_a_crash_between_record_and_part_is_resumed(tmp_path, monkeypatch):
    """The record is written first; alone, it is no finished part."""
    from retrieval_index.distributed import part_building

    def crash(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(part_building, "commit", crash)
    with pytest.raises(KeyboardInterrupt):
        build_parts(numbered(40), tmp_path / "i", 2, ids=[0], **SMALL)
    monkeypatch.undo()
    assert Place(tmp_path / "i", 0, 2).record.exists()
    with pytest.raises(IndexNotFoundError, match=r"missing: 1; begun but not finished: 0"):
        distributed.finish(tmp_path / "i", 2)
    encoder = TableEncoder()
    build_parts(numbered(40), tmp_path / "i", 2, encoder, **SMALL)
    assert encoder.encoded == 20  # those of part 1; those of part 0 were durable
    assert len(distributed.finish(tmp_path / "i", 2, encoder=encoder)) == 40


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_kill_9(tmp_path):
    out = tmp_path / "i"
    place = Place(out, 1, 2)
    code = (
        "from index_helpers import TableEncoder, numbered\n"
        "from retrieval_index import distributed\n"
        f"distributed.build_part(numbered(120), {str(out)!r}, TableEncoder(delay=0.05), "
        "shard_id=1, shard_num=2, shard_size=8, batch_size=4)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent)
    try:
        deadline = time.monotonic() + 60
        while len(list(place.workspace.glob("shard-*.json"))) < 2:
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    encoder = TableEncoder()
    part = distributed.build_part(numbered(120), out, encoder, shard_id=1, shard_num=2, **SMALL)
    assert part.report.reused_chunks >= 16
    assert part.report.reused_chunks + encoder.encoded == 60
    build_parts(numbered(120), out, 2, **SMALL)
    one = retrieval_index.build(numbered(120), tmp_path / "one", TableEncoder(), **SMALL)
    many = distributed.finish(out, 2, encoder=TableEncoder())
    queries = [text for _, text in numbered(120)]
    assert many.search(queries, k=5) == one.search(queries, k=5)


@pytest.mark.parametrize(
    ("encoder", "options", "said"),
    [
        (TableEncoder(fingerprint="table-2"), {}, "table-1.*table-2"),
        (TableEncoder(), {"chunk_size": 50}, "chunker"),
        (TableEncoder(), {"language": None}, "lexical"),
        (TableEncoder(), {"index": "HNSW8"}, "factory: None and HNSW8"),
        (TableEncoder(), {"seed": 1}, "seed: 0 and 1"),
        (TableEncoder(), {"normalize": False}, "normalize"),
        (TableEncoder(), {"duplicates": "skip"}, "duplicates: keep and skip"),
    ],
)
def test_parts_of_another_plan_are_refused(tmp_path, encoder, options, said):
    build_parts(numbered(6), tmp_path / "i", 2, ids=[0])
    for shard_id in (0, 1):
        with pytest.raises(ArgumentError, match=said):
            build_parts(numbered(6), tmp_path / "i", 2, encoder, ids=[shard_id], **options)
    # Built out of sight of each other, and brought together afterwards:
    build_parts(numbered(6), tmp_path / "j", 2, encoder, ids=[1], **options)
    bring(Place(tmp_path / "j", 1, 2), Place(tmp_path / "i", 1, 2))
    with pytest.raises(ArgumentError, match=said):
        distributed.finish(tmp_path / "i", 2)
    assert not (tmp_path / "i").exists()


def bring(source, target):
    shutil.copytree(source.folder, target.folder)
    shutil.copy(source.record, target.record)


@pytest.mark.parametrize("change", ["text", "order", "metadata", "more"])
def test_parts_of_another_corpus_are_refused(tmp_path, change):
    corpus = [{"_id": f"d{i}", "text": f"Text {i}.", "n": i} for i in range(9)]
    build_parts(corpus, tmp_path / "i", 3, ids=[0, 1])
    if change == "text":
        corpus[0]["text"] = "Another."
    elif change == "order":
        corpus[0], corpus[3] = corpus[3], corpus[0]
    elif change == "metadata":
        corpus[0]["n"] = 100
    else:
        corpus.append({"_id": "more", "text": "More."})
    build_parts(corpus, tmp_path / "i", 3, ids=[2])
    with pytest.raises(CorpusError, match="part-00002-of-00003"):
        distributed.finish(tmp_path / "i", 3)


def test_parts_can_be_copied_together(tmp_path):
    corpus = documents(30)
    for shard_id in range(2):
        build_parts(corpus, tmp_path / f"machine{shard_id}" / "i", 2, ids=[shard_id])
        there = Place(tmp_path / f"machine{shard_id}" / "i", shard_id, 2)
        bring(there, Place(tmp_path / "i", shard_id, 2))
    one = retrieval_index.build(corpus, tmp_path / "one", TableEncoder())
    assert_same(one, distributed.finish(tmp_path / "i", 2, encoder=TableEncoder()))


def test_missing_parts_are_named(tmp_path):
    with pytest.raises(IndexNotFoundError, match="missing: 0, 1, 2, 3"):
        distributed.finish(tmp_path / "i", 4)
    build_parts(numbered(8), tmp_path / "i", 4, ids=[1, 3])
    with pytest.raises(IndexNotFoundError, match="missing: 0, 2"):
        distributed.finish(tmp_path / "i", 4)
    with pytest.raises(IndexNotFoundError, match="missing: 0, 1"):
        distributed.finish(tmp_path / "i", 2)


@pytest.mark.parametrize("damage", ["vectors", "record", "foreign", "newer", "renamed", "changed"])
def test_damaged_parts_are_refused(tmp_path, damage):
    build_parts(numbered(8), tmp_path / "i", 2)
    place, other = Place(tmp_path / "i", 0, 2), Place(tmp_path / "i", 1, 2)
    error = CorruptIndexError
    if damage == "vectors":
        path = next(place.folder.rglob("vectors.faiss"))
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    elif damage == "record":
        place.record.write_text(place.record.read_text().replace('"shard_id": 0', '"shard_id": 1'))
    elif damage == "foreign":
        place.record.write_text("[]")
    elif damage == "newer":
        body = json.loads(place.record.read_text())
        place.record.write_text(json.dumps({**body, "format_version": 9}))
        error = NewerFormatError
    elif damage == "renamed":
        shutil.rmtree(place.folder)
        place.record.unlink()
        bring(other, place)
    else:
        retrieval_index.delete(place.folder, ["d0"])
        error = IndexExistsError
    with pytest.raises(error):
        distributed.finish(tmp_path / "i", 2)
    assert not (tmp_path / "i").exists()


def test_what_is_no_part_is_not_overwritten(tmp_path):
    folder = Place(tmp_path / "i", 0, 2).folder
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(IndexExistsError, match="did not make"):
        build_parts(numbered(4), tmp_path / "i", 2, ids=[0])
    assert (folder / "notes.txt").read_text() == "mine"


def test_two_builders_of_one_part(tmp_path):
    place = Place(tmp_path / "i", 0, 2)
    place.folder.parent.mkdir()
    with exclusive(place.workspace), pytest.raises(BuildLockedError):
        build_parts(numbered(4), tmp_path / "i", 2, ids=[0])
    build_parts(numbered(4), tmp_path / "i", 2)


def test_finish_replaces_and_removes(tmp_path):
    out = tmp_path / "i"
    retrieval_index.build([("old", "Old.")], out, TableEncoder())
    build_parts(numbered(8), out, 2)
    with pytest.raises(IndexExistsError):
        distributed.finish(out, 2)
    index = distributed.finish(out, 2, overwrite=True, remove_parts=True, encoder=TableEncoder())
    assert len(index) == 8 and index.version == 2
    assert [path.name for path in tmp_path.iterdir()] == ["i"]
    retrieval_index.verify(out)


def test_other_numbers_of_parts_lie_side_by_side(tmp_path):
    build_parts(numbered(8), tmp_path / "i", 2)
    build_parts(numbered(8), tmp_path / "i", 3)
    distributed.finish(tmp_path / "i", 3, remove_parts=True, encoder=TableEncoder())
    assert len(list((tmp_path / "i.parts").iterdir())) == 4


def test_the_encoder_of_the_parts_measures(tmp_path):
    """By its name where none is given; without it, passages are the queries."""
    options = {**LONG, "index": "IVF8,Flat", "language": None}
    corpus = documents(60)
    build_parts(corpus, tmp_path / "i", 2, "hashing:32", **options)
    one = retrieval_index.build(corpus, tmp_path / "one", "hashing:32", **options)
    assert_same(one, distributed.finish(tmp_path / "i", 2))
    build_parts(corpus, tmp_path / "j", 2, **options)  # "table:test" is known to nobody
    with pytest.raises(EncoderMismatchError):
        distributed.finish(tmp_path / "j", 2, encoder=TableEncoder(fingerprint="table-2"))
    with pytest.warns(RetrievalIndexWarning, match="passages as queries"):
        index = distributed.finish(tmp_path / "j", 2)
    measured = index.info()["segments"][0]["vectors"]["measured"]
    assert measured["query_source"].startswith("passages") and measured["recall"] >= 0.95


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"shard_id": 2}, "`shard_id`"),
        ({"shard_id": -1}, "`shard_id`"),
        ({"shard_id": True}, "`shard_id`"),
        ({"shard_num": 0}, "`shard_num`"),
        ({"shard_num": 100_000}, "`shard_num`"),
        ({"shard_num": "2"}, "`shard_num`"),
        ({"overwrite": True}, "`overwrite` is no option here"),
        ({"chunksize": 3}, "`chunksize`"),
        ({"duplicates": "drop"}, "`duplicates`"),
        ({"index": "IVF"}, "IVF"),
        ({"batch_size": 0}, "`batch_size`"),
    ],
)
def test_arguments(tmp_path, arguments, said):
    given = {"shard_id": 0, "shard_num": 2} | arguments
    with pytest.raises(ArgumentError, match=said):
        distributed.build_part(numbered(4), tmp_path / "i", TableEncoder(), **given)
    assert list(tmp_path.iterdir()) == []


def test_empty_and_strict(tmp_path):
    build_parts([], tmp_path / "i", 2)
    with pytest.raises(CorpusError, match="at least one document"):
        distributed.finish(tmp_path / "i", 2)
    # Every part refuses what is wrong anywhere in the corpus.
    for shard_id in (0, 1):
        with pytest.raises(CorpusError, match="item 3"):
            build_parts([*numbered(2), 5], tmp_path / "j", 2, ids=[shard_id], strict=True)


def test_a_broken_off_finish_leaves_the_old_index_and_can_be_run_again(tmp_path, monkeypatch):
    from retrieval_index.distributed import finishing

    out = tmp_path / "i"
    old = retrieval_index.build([("old", "Old.")], out, TableEncoder())
    build_parts(numbered(8), out, 2)

    def crash(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(finishing, "commit", crash)
    with pytest.raises(KeyboardInterrupt):
        distributed.finish(out, 2, overwrite=True, remove_parts=True)
    assert retrieval_index.open(out).info() == old.info()
    monkeypatch.undo()
    assert len(distributed.finish(out, 2, overwrite=True, encoder=TableEncoder())) == 8


@pytest.mark.skipif(os.name == "nt", reason="no such limit")
def test_more_parts_than_files_may_be_open(tmp_path, monkeypatch):
    import resource

    build_parts(numbered(8), tmp_path / "i", 8)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (110, 4096))
    with pytest.raises(ArgumentError, match="ulimit -n 124"):
        distributed.finish(tmp_path / "i", 8)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (124, 4096))
    assert len(distributed.finish(tmp_path / "i", 8, encoder=TableEncoder())) == 8
