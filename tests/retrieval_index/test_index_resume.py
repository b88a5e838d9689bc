"""A build that was broken off goes on where it stopped, and ends at the same index."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from index_helpers import TableEncoder, numbered

import retrieval_index
from retrieval_index import BuildLockedError, CorpusError, build
from retrieval_index.storage.workspace import exclusive

COUNT = 100
SHARD = 8
SETTINGS = {"shard_size": SHARD, "batch_size": 4}


def workspace(out):
    return out.with_name(f".{out.name}.building")


def break_off(out, corpus=None, after=40):
    """Leaves 5 shards (40 chunks) behind and returns nothing usable."""
    with pytest.raises(RuntimeError, match="the encoder broke"):
        build(corpus or numbered(COUNT), out, TableEncoder(fail_after=after), **SETTINGS)
    assert not out.exists()
    assert len(list(workspace(out).glob("shard-*.json"))) == after // SHARD


def resume(out, corpus=None, encoder=None, **settings):
    """Returns how many texts were encoded, after comparing with an undisturbed build."""
    encoder = encoder or TableEncoder()
    corpus = corpus or numbered(COUNT)
    index = build(corpus, out, encoder, **{**SETTINGS, **settings})
    encoded = encoder.encoded
    assert not workspace(out).exists()
    undisturbed = build(
        corpus, out.with_name("undisturbed"), type(encoder)(fingerprint=encoder.fingerprint),
        **{**SETTINGS, **settings},
    )  # fmt: skip
    queries = [text for _, text in corpus]
    assert index.search(queries, k=5) == undisturbed.search(queries, k=5)
    for key in ("vectors", "chunks"):
        files = [i.info()["segments"][0]["files"][key]["sha256"] for i in (index, undisturbed)]
        assert files[0] == files[1]
    assert index.report.encoded_chunks == encoded
    assert index.report.encoded_chunks + index.report.reused_chunks == len(index)
    retrieval_index.verify(out)
    return encoded


def test_exception_in_the_encoder(tmp_path):
    break_off(tmp_path / "i", after=44)  # half of the sixth shard is lost
    assert resume(tmp_path / "i") == COUNT - 40


def test_generators_are_resumed_like_files(tmp_path):
    with pytest.raises(RuntimeError):
        build(iter(numbered(COUNT)), tmp_path / "i", TableEncoder(fail_after=40), **SETTINGS)
    encoder = TableEncoder()
    build(iter(numbered(COUNT)), tmp_path / "i", encoder, **SETTINGS)
    assert encoder.encoded == COUNT - 40


def test_other_batch_size_keeps_the_shards(tmp_path):
    break_off(tmp_path / "i")
    encoder = TableEncoder()
    build(numbered(COUNT), tmp_path / "i", encoder, shard_size=SHARD, batch_size=2)
    assert encoder.encoded == COUNT - 40


@pytest.mark.parametrize(
    "encoder, settings",
    [
        (TableEncoder(fingerprint="table-2"), {}),
        (TableEncoder(), {"normalize": False}),
        (TableEncoder(), {"chunk_size": 50}),
        (TableEncoder(), {"shard_size": 16}),
    ],
    ids=["fingerprint", "normalize", "chunk_size", "shard_size"],
)
def test_other_settings_start_over(tmp_path, encoder, settings):
    break_off(tmp_path / "i")
    encoder.encoded = 0
    assert resume(tmp_path / "i", encoder=encoder, **settings) == COUNT


def test_changed_corpus_encodes_what_changed(tmp_path):
    break_off(tmp_path / "i")
    changed = numbered(COUNT)
    changed[10] = ("d10", "Something else altogether.")  # in the second of five shards
    assert resume(tmp_path / "i", changed) == COUNT - 40 + SHARD


def test_inserted_document_moves_the_later_shards(tmp_path):
    break_off(tmp_path / "i")
    changed = numbered(COUNT)
    changed.insert(20, ("new", "A document in the third shard."))
    assert resume(tmp_path / "i", changed) == COUNT + 1 - 2 * SHARD


def test_shorter_corpus_takes_no_stale_shard(tmp_path):
    break_off(tmp_path / "i")
    assert resume(tmp_path / "i", numbered(20)) == 4  # 20 = 2 whole shards and 4 chunks


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "marker"])
def test_damaged_shard_is_encoded_again(tmp_path, damage):
    break_off(tmp_path / "i")
    array = workspace(tmp_path / "i") / "shard-000002.npy"
    if damage == "truncate":
        os.truncate(array, 100)
    elif damage == "flip":
        data = bytearray(array.read_bytes())
        data[-1] ^= 1
        array.write_bytes(data)
    elif damage == "remove":
        array.unlink()
    else:
        os.truncate(array.with_suffix(".json"), 10)
    assert resume(tmp_path / "i") == COUNT - 40 + SHARD


def test_strict_refusal_late_keeps_what_was_encoded(tmp_path):
    bad = [*numbered(90), 5, *numbered(COUNT)[90:]]
    with pytest.raises(CorpusError, match="item 91"):
        build(bad, tmp_path / "i", TableEncoder(), strict=True, **SETTINGS)
    assert not (tmp_path / "i").exists()
    # Documents are cut 64 at a time: those of the batch with the bad entry were not encoded yet.
    assert resume(tmp_path / "i") == COUNT - 64


def test_failure_before_the_first_shard_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError):
        build(numbered(COUNT), tmp_path / "i", TableEncoder(fail_after=2), **SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_build_broken_off_leaves_the_old_index(tmp_path):
    old = build([("old", "The old text.")], tmp_path / "i", TableEncoder())
    with pytest.raises(RuntimeError):
        build(
            numbered(COUNT), tmp_path / "i", TableEncoder(fail_after=40), overwrite=True, **SETTINGS
        )
    assert retrieval_index.open(tmp_path / "i").info() == old.info()
    assert resume(tmp_path / "i", overwrite=True) == COUNT - 40


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_kill_9(tmp_path):
    out = tmp_path / "i"
    code = f"from index_helpers import slow_build; slow_build({str(out)!r}, {COUNT})"
    child = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent)
    try:
        deadline = time.monotonic() + 30
        while len(list(workspace(out).glob("shard-*.json"))) < 3:
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not out.exists()
    durable = len(list(workspace(out).glob("shard-*.json")))
    assert 3 <= durable < COUNT // SHARD
    assert resume(out) == COUNT - durable * SHARD


def test_second_builder_is_refused(tmp_path):
    out = tmp_path / "i"
    with exclusive(workspace(out)), pytest.raises(BuildLockedError, match="another process"):
        build(numbered(3), out, TableEncoder())
    assert len(build(numbered(3), out, TableEncoder())) == 3
