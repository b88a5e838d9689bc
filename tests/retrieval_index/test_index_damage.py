"""Damaged, foreign and newer files: a named error, never a crash and never a wrong answer."""

import hashlib
import json
import os
import random
import shutil
import sqlite3

import faiss
import numpy as np
import pytest
from index_helpers import TableEncoder, numbered

import retrieval_index
from retrieval_index import (
    CorruptIndexError,
    IndexNotFoundError,
    NewerFormatError,
    RetrievalIndexError,
    build,
)
from retrieval_index.storage.durable import checksum
from retrieval_index.storage.manifest import read_manifest


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    out = tmp_path_factory.mktemp("damage") / "i"
    build(numbered(60), out, TableEncoder()).close()
    return out


@pytest.fixture
def out(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "i")


def file_of(out, key):
    return out / read_manifest(out).segments[0].files[key].path


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.write_bytes(data)


def edit_manifest(out, change, sign=True):
    """Changes the manifest as a foreign program could, with a right checksum if `sign`."""
    path = out / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    if sign:
        body = {k: v for k, v in data.items() if k not in ("format", "format_version", "checksum")}
        data["checksum"] = checksum(body)
    path.write_text(json.dumps(data))


def sign_files(out):
    """Makes sizes and checksums right again, to reach the checks behind them."""

    def change(data):
        from retrieval_index.storage.durable import FileEntry

        for entry in data["segments"][0]["files"].values():
            fresh = FileEntry.of(out / entry["path"], entry["path"])
            entry.update(size=fresh.size, sha256=fresh.sha256)

    edit_manifest(out, change)


def test_verify_of_a_sound_index(out):
    found = retrieval_index.verify(out)
    files = [path for path in out.rglob("*") if path.is_file()]
    assert found["files"] == len(files) - 1
    assert (found["documents"], found["chunks"], found["vectors"]) == (60, 60, 60)
    assert found["bytes"] == retrieval_index.open(out).info()["size_bytes"]


@pytest.mark.parametrize("key", ["documents", "chunks", "vectors", "lexical/lexical.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "grow", "remove"])
def test_damaged_file(out, key, damage):
    path = file_of(out, key)
    size = path.stat().st_size
    if damage == "flip":
        flip(path, size // 2)
    elif damage == "remove":
        path.unlink()
    else:
        os.truncate(path, {"truncate": size // 2, "empty": 0, "grow": size + 1}[damage])
    for call in (retrieval_index.open, retrieval_index.verify):
        with pytest.raises(CorruptIndexError, match=path.name):
            call(out)


def test_sizes_are_checked_even_without_checksums(out):
    path = file_of(out, "vectors")
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(CorruptIndexError, match="bytes but was written with"):
        retrieval_index.open(out, checksums=False)


def test_checksums_are_what_finds_a_flipped_bit(out):
    flip(file_of(out, "vectors"), -1)
    assert len(retrieval_index.open(out, checksums=False)) == 60
    with pytest.raises(CorruptIndexError, match="SHA-256"):
        retrieval_index.open(out)


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"{}", b"\xff", b"[" * 99_999])
def test_foreign_manifest(out, content):
    (out / "manifest.json").write_bytes(content)
    with pytest.raises(CorruptIndexError, match="manifest"):
        retrieval_index.open(out)


def test_oversized_manifest_is_not_parsed(out):
    os.truncate(out / "manifest.json", 65 * 2**20)
    with pytest.raises(CorruptIndexError, match="too large"):
        retrieval_index.open(out)


def test_newer_version_names_both_and_the_remedy(out):
    edit_manifest(out, lambda data: data.update(format_version=3, novelty=1), sign=False)
    for call in (retrieval_index.open, retrieval_index.verify):
        with pytest.raises(NewerFormatError, match=r"format version 3.*up to 2.*pip install"):
            call(out)


def test_older_version_says_what_to_do(out):
    edit_manifest(out, lambda data: data.update(format_version=1), sign=False)
    with pytest.raises(CorruptIndexError, match=r"format version 1.*Build the index again"):
        retrieval_index.open(out)


def test_edited_manifest_is_noticed(out):
    edit_manifest(out, lambda data: data.update(version=61), sign=False)
    with pytest.raises(CorruptIndexError, match="changed after it was written"):
        retrieval_index.open(out)


def change_file(key, value):
    return lambda data: data["segments"][0]["files"]["vectors"].update({key: value})


def change_segment(key, value):
    return lambda data: data["segments"][0].update({key: value})


@pytest.mark.parametrize(
    "change, message",
    [
        (change_file("path", "../../etc/passwd"), "outside the index folder"),
        (change_file("path", "/etc/passwd"), "outside the index folder"),
        (change_file("size", "big"), "files.vectors.size: Input should be a valid integer"),
        (change_file("sha256", "0"), "files.vectors.sha256"),
        (lambda data: data["segments"][0]["files"].pop("vectors"), "`files` must be"),
        (change_segment("documents", -1), "segments.0.documents: .*greater than or equal to 1"),
        (change_segment("chunks", True), "segments.0.chunks: Input should be a valid integer"),
        (change_segment("name", "../s000001"), "segments.0.name"),
        (change_segment("deleted_documents", 1), "do not agree"),
        (change_segment("deleted_documents", 61), "more is deleted"),
        (lambda data: data["segments"].append(data["segments"][0]), "the same name"),
        (lambda data: data.update(next_segment=1), "`next_segment` is in use"),
        (lambda data: data.update(lexical=None), "do not agree"),
        (lambda data: data.update(extra=1), "extra: Extra inputs"),
        (lambda data: data.pop("encoder"), "encoder: Field required"),
        (lambda data: data["encoder"].update(dimension=None), "encoder.dimension"),
        (lambda data: data["report"].pop("chunks"), "`report` is malformed"),
        (lambda data: data.update(report={"problems": [3]}), "`report` is malformed"),
        (lambda data: data["report"].update(skipped=3), "`report` is malformed"),
        (lambda data: data["options"].update(novelty=1), "`options` is malformed"),
        (lambda data: data["options"].update(recall="most"), "`options` is malformed"),
        (lambda data: data.update(search={"depth": 0}), "`search` is malformed"),
        (lambda data: data.update(search={"method": []}), "`search` is malformed"),
        (lambda data: data.update(search={"weight": 1}), "`search` is malformed"),
        (lambda data: data["lexical"].pop("analyzer"), "`lexical` is malformed"),
        (change_file("path", "segments/s000001/chunks.i32"), "'vectors' must be segments/s000001"),
    ],
)
def test_nonsense_with_a_rightchecksum(out, change, message):
    edit_manifest(out, change)
    with pytest.raises(CorruptIndexError, match=message):
        retrieval_index.open(out)


@pytest.mark.parametrize("kind", ["absent", "file", "empty"])
def test_no_index(tmp_path, kind):
    path = tmp_path / "x"
    if kind == "file":
        path.write_text("text")
    elif kind == "empty":
        path.mkdir()
    for call in (retrieval_index.open, retrieval_index.verify):
        with pytest.raises(IndexNotFoundError, match="`path` must be the folder of an index"):
            call(path)


# --- behind the checksums: files that are whole but wrong -----------------------------------------


def replace_vectors(out, vectors, metric=faiss.METRIC_INNER_PRODUCT):
    index = faiss.index_factory(vectors.shape[1], "Flat", metric)
    index.add(vectors)
    faiss.write_index(index, str(file_of(out, "vectors")))
    sign_files(out)


UNIT = np.tile(np.eye(24, dtype="f4")[:1], (60, 1))


@pytest.mark.parametrize(
    "vectors, metric",
    [(UNIT[:59], 0), (np.ones((60, 23), "f4"), 0), (UNIT, faiss.METRIC_L2)],
    ids=["count", "dimension", "metric"],
)
def test_vectors_of_another_index(out, vectors, metric):
    replace_vectors(out, vectors, metric)
    with pytest.raises(CorruptIndexError, match=r"vectors\.faiss"):
        retrieval_index.open(out)


def test_not_a_faiss_file(out):
    file_of(out, "vectors").write_bytes(b"no vectors here" * 1000)
    sign_files(out)
    with pytest.raises(CorruptIndexError, match="cannot be read by FAISS"):
        retrieval_index.open(out)


@pytest.mark.parametrize("size", [0, 40, 79, 24 * 4 * 60 - 1])
def test_too_short_for_its_vectors(out, size):
    os.truncate(file_of(out, "vectors"), size)  # FAISS would map it and read on behind its end
    sign_files(out)
    with pytest.raises(CorruptIndexError, match="too few for 60 vectors"):
        retrieval_index.open(out)


@pytest.mark.parametrize("value, message", [(np.nan, "not finite"), (2.0, "not of length 1")])
def test_verify_looks_at_every_vector(out, value, message):
    vectors = UNIT.copy()
    vectors[59, 0] = value
    replace_vectors(out, vectors)
    with pytest.raises(CorruptIndexError, match=message):
        retrieval_index.verify(out)


@pytest.mark.parametrize(
    "sql, message",
    [
        ("DELETE FROM documents WHERE number = 7", "holds 59 documents; the manifest says 60"),
        ("UPDATE documents SET text = 'short' WHERE number = 7", "ends at character"),
        ("UPDATE documents SET metadata = '{' WHERE number = 7", "metadata of document 'd7'"),
        ("PRAGMA user_version = 9", "no document store of this version"),
        ("PRAGMA application_id = 9", "no document store of this version"),
        ("DROP TABLE documents", "no such table"),
    ],
)
def test_verify_reads_the_whole_store(out, sql, message):
    with sqlite3.connect(file_of(out, "documents")) as connection:
        connection.execute(sql)
    connection.close()
    sign_files(out)
    with pytest.raises(CorruptIndexError, match=message):
        retrieval_index.verify(out)


@pytest.mark.parametrize(
    "row, column, value, message",
    [
        (7, 0, 99, "order of the documents"),
        (7, 0, 6, "order of the documents"),
        (59, 0, 58, "order of the documents"),
        (7, 1, -1, "characters that cannot be"),
        (7, 2, 0, "characters that cannot be"),
        (7, 3, -2, "characters that cannot be"),
    ],
)
def test_chunk_table_of_nonsense(out, row, column, value, message):
    path = file_of(out, "chunks")
    table = np.fromfile(path, dtype="<i4").reshape(60, 4)
    table[row, 1 if column == 2 else column] = table[row, 2] + 1 if column == 2 else value
    table.tofile(path)
    sign_files(out)
    with pytest.raises(CorruptIndexError, match=message):
        retrieval_index.open(out)


@pytest.mark.parametrize(
    "numbers",
    # The third is ascending only for differences in 32 bits.
    [[5, 4], [3, 3], [1, 2**31 - 1, -(2**31) + 5, 7], [-1, 4], [4, 60]],
)
def test_deletions_of_nonsense(out, numbers):
    retrieval_index.delete(out, [f"d{i}" for i in range(len(numbers))])
    path = next((out / "deleted").iterdir())
    np.array(numbers, dtype="<i4").tofile(path)

    def sign(data):
        entry = data["segments"][0]["deleted"]
        entry.update(sha256=hashlib.sha256(path.read_bytes()).hexdigest())

    edit_manifest(out, sign)
    with pytest.raises(CorruptIndexError, match="no list of"):
        retrieval_index.open(out)


def test_passage_beyond_its_document(out):
    path = file_of(out, "chunks")
    table = np.fromfile(path, dtype="<i4").reshape(60, 4)
    table[7, 2] = 999
    table.tofile(path)
    sign_files(out)
    with pytest.raises(CorruptIndexError, match=r"document 'd7' ends at character 999"):
        retrieval_index.verify(out)


def test_search_over_a_broken_store_is_an_error(out):
    with sqlite3.connect(file_of(out, "documents")) as connection:
        connection.execute("DELETE FROM documents WHERE number = 7")
    connection.close()
    sign_files(out)
    with pytest.raises(CorruptIndexError, match="number 7 is missing in documents"):
        retrieval_index.open(out, TableEncoder()).search("q", k=60)


def test_truncated_store_that_was_signed(out):
    path = file_of(out, "documents")
    os.truncate(path, path.stat().st_size // 2)
    sign_files(out)
    with pytest.raises(CorruptIndexError, match="damaged"):
        retrieval_index.verify(out)


def test_mutated_indexes_give_only_named_errors(out):
    rng = random.Random(3)
    names = [out / "manifest.json", file_of(out, "documents"), file_of(out, "vectors")]
    originals = {path: path.read_bytes() for path in names}
    refused = 0
    for _ in range(300):
        path = rng.choice(names)
        data = bytearray(originals[path])
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)) :]
        path.write_bytes(data)
        try:
            retrieval_index.open(out)
        except RetrievalIndexError:
            refused += 1
        else:
            # Only a change that changes nothing may pass: the same bytes, or the same JSON.
            same = data == originals[path]
            assert same or json.loads(data) == json.loads(originals[path])
        path.write_bytes(originals[path])
    assert refused > 280
