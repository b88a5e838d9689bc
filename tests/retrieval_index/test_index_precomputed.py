"""Vectors that exist already, found by document id."""

import json
import os

import numpy as np
import pytest
from index_helpers import TableEncoder

from retrieval_index import ArgumentError, Chunker, Encoder, EncoderError, resolve_encoder
from retrieval_index.encoders import vector_files
from retrieval_index.encoders.document_ids import IdTable
from retrieval_index.encoders.precomputed import PrecomputedVectors
from retrieval_index.encoders.protocol import check_vectors

IDS = [f"doc {i}é" for i in range(200)]


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(200, 8)).astype("f4")


@pytest.fixture
def npy(tmp_path, vectors):
    np.save(tmp_path / "emb.npy", vectors)
    return tmp_path / "emb.npy"


def write_parquet(path, vectors, ids=IDS, kind="list", id_name="id"):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    flat = pa.array(vectors.reshape(-1))
    if kind == "fixed":
        column = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    else:
        offsets = pa.array(np.arange(len(vectors) + 1) * vectors.shape[1], pa.int32())
        column = pa.ListArray.from_arrays(offsets, flat)
    table = pa.table({id_name: ids, "text": ["t"] * len(ids), "emb": column})
    pq.write_table(table, path, row_group_size=64)
    return path


def ids_as(kind, folder):
    if kind == "list":
        return IDS
    path = folder / f"ids.{kind}"
    if kind == "npy":
        np.save(path, np.array(IDS))
    elif kind == "txt":
        path.write_text("\n".join(IDS) + "\n", encoding="utf-8")
    else:
        path.write_text("\n".join(json.dumps({"_id": i, "text": "x"}) for i in IDS))
    return path


@pytest.mark.parametrize("kind", ["list", "npy", "txt", "jsonl"])
def test_rows_are_found_by_id_in_any_order(npy, vectors, tmp_path, kind):
    encoder = PrecomputedVectors(npy, ids_as(kind, tmp_path))
    order = np.random.default_rng(1).permutation(200)[:150].tolist()
    order += [3, 3]
    got = encoder.encode_documents([IDS[i] for i in order], [""] * len(order))
    np.testing.assert_array_equal(got, vectors[order])
    assert (got.dtype, encoder.dimension, len(encoder)) == (np.float32, 8, 200)
    assert encoder.unused == 200 - len(set(order))


def test_without_ids_the_row_number_is_the_id(npy, vectors):
    got = PrecomputedVectors(npy).encode_documents(["7", "0"], ["", ""])
    np.testing.assert_array_equal(got, vectors[[7, 0]])


def test_half_precision_and_fortran_order(tmp_path, vectors):
    np.save(tmp_path / "half.npy", np.asfortranarray(vectors.astype("f2")))
    got = PrecomputedVectors(tmp_path / "half.npy").encode_documents(["5"], [""])
    np.testing.assert_array_equal(got, vectors[[5]].astype("f2").astype("f4"))


@pytest.mark.parametrize("kind", ["list", "fixed"])
@pytest.mark.parametrize("dtype", ["f4", "f2", "f8"])
def test_parquet(tmp_path, vectors, kind, dtype):
    path = write_parquet(tmp_path / "emb.parquet", vectors.astype(dtype), kind=kind)
    encoder = PrecomputedVectors(path)
    assert (encoder.dimension, len(encoder)) == (8, 200)
    order = [199, 0, 64, 63]
    got = encoder.encode_documents([IDS[i] for i in order], [""] * 4)
    np.testing.assert_array_equal(got, vectors[order].astype(dtype).astype("f4"))


def test_parquet_columns_are_found_or_named(tmp_path, vectors):
    path = write_parquet(tmp_path / "emb.parquet", vectors, id_name="key")
    with pytest.raises(EncoderError, match=r"`id_column`.*columns are \['key', 'text', 'emb'\]"):
        PrecomputedVectors(path)
    with pytest.raises(EncoderError, match=r"`vector_column` must name.*it is 'text'"):
        PrecomputedVectors(path, vector_column="text")
    encoder = PrecomputedVectors(path, id_column="key", vector_column="emb")
    np.testing.assert_array_equal(encoder.encode_documents([IDS[9]], [""]), vectors[[9]])
    again = resolve_encoder(encoder.name)
    assert again.fingerprint == encoder.fingerprint


@pytest.mark.parametrize("row", [[1.0] * 7, [1.0] * 9, None, [None] * 8])
def test_parquet_rows_that_are_no_vectors(tmp_path, row):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    rows = [[0.5] * 8] * 20 + [row] + [[0.5] * 8] * 20
    kind = pa.list_(pa.float32())
    table = pa.table({"id": [str(i) for i in range(41)], "v": pa.array(rows, kind)})
    pq.write_table(table, tmp_path / "bad.parquet")
    encoder = PrecomputedVectors(tmp_path / "bad.parquet")
    with pytest.raises(EncoderError, match=r"must hold 8 numbers.*rows 0 to 40"):
        encoder.encode_documents(["1"], [""])


def test_missing_ids_are_counted_and_the_first_named(npy):
    encoder = PrecomputedVectors(npy, IDS)
    with pytest.raises(
        EncoderError, match=r"7 of these 8 documents have none: 'x0', .*'x4', \.\.\."
    ):
        encoder.encode_documents([IDS[0], *(f"x{i}" for i in range(7))], [""] * 8)
    with pytest.raises(EncoderError, match=r"1 of these 1 documents have none: 'y'"):
        encoder.encode_documents(["y"], [""])


@pytest.mark.parametrize(
    "ids, message",
    [
        (IDS[:-1], "one for each of 200 vectors; received 199"),
        ([*IDS, "more"], "received 201"),
        ([*IDS[:-1], IDS[0]], "rows 0 and 199 .* have the same one"),
        ([*IDS[:-1], ""], "row 199 has ''"),
        ([*IDS[:-1], 1.5], "row 199 has 1.5"),
        ("ids.csv", "must be a .npy, .txt or .jsonl file"),
        ("nowhere.txt", "cannot be read"),
        ("nowhere.npy", "no readable .npy"),
    ],
)
def test_bad_ids(npy, ids, message):
    with pytest.raises(EncoderError, match=message):
        PrecomputedVectors(npy, ids)


def test_objects_are_never_unpickled(npy, tmp_path):
    np.save(tmp_path / "ids.npy", np.array(IDS, dtype=object))
    with pytest.raises(EncoderError, match=r"no readable .npy file of ids"):
        PrecomputedVectors(npy, tmp_path / "ids.npy")
    np.save(tmp_path / "emb2.npy", np.array([[None] * 8], dtype=object))
    with pytest.raises(EncoderError, match=r"no readable .npy file"):
        PrecomputedVectors(tmp_path / "emb2.npy")


@pytest.mark.parametrize(
    "array", [np.zeros((3, 2), "i4"), np.zeros(3, "f4"), np.zeros((0, 4), "f4"), np.zeros((2, 2))]
)
def test_arrays_that_are_no_vectors(tmp_path, array):
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(EncoderError, match=r"float32 or float16 of shape"):
        PrecomputedVectors(tmp_path / "bad.npy")


def test_damaged_files(tmp_path, npy):
    (tmp_path / "cut.npy").write_bytes(npy.read_bytes()[:-100])
    (tmp_path / "junk.npy").write_bytes(b"junk")
    (tmp_path / "junk.parquet").write_bytes(b"junk")
    for name in ("cut.npy", "junk.npy", "junk.parquet", "none.npy", "none.parquet"):
        with pytest.raises(EncoderError, match=r"no readable"):
            PrecomputedVectors(tmp_path / name)
    with pytest.raises(EncoderError, match=r"a .npy or a .parquet file"):
        PrecomputedVectors(tmp_path / "emb.bin")


def test_found_again_by_name(npy, tmp_path, vectors):
    ids = ids_as("txt", tmp_path)
    encoder = PrecomputedVectors(npy, ids, query_encoder="hashing:8:3")
    assert isinstance(encoder, Encoder)
    again = resolve_encoder(encoder.name)
    assert (again.name, again.fingerprint) == (encoder.name, encoder.fingerprint)
    np.testing.assert_array_equal(again.encode_documents([IDS[4]], [""]), vectors[[4]])
    np.testing.assert_array_equal(
        again.encode_queries(["a b"]), resolve_encoder("hashing:8:3").encode(["a b"])
    )
    assert PrecomputedVectors(npy, IDS, name="mine:x").name == "mine:x"


@pytest.mark.parametrize("name", ["precomputed", "precomputed:", "precomputed:x.npy?idz=1"])
def test_names_malformed(name):
    with pytest.raises(EncoderError, match=r"must be written|unknown option 'idz'"):
        resolve_encoder(name)


def test_fingerprint_follows_vectors_ids_and_query_encoder(npy, tmp_path, vectors):
    first = PrecomputedVectors(npy, IDS).fingerprint
    assert PrecomputedVectors(npy, IDS).fingerprint == first
    others = [
        PrecomputedVectors(npy, IDS[::-1]),
        PrecomputedVectors(npy, IDS, query_encoder="hashing:8"),
    ]
    changed = vectors.copy()
    changed[100, 3] += 1
    np.save(tmp_path / "other.npy", changed)
    others.append(PrecomputedVectors(tmp_path / "other.npy", IDS))
    assert len({first, *(other.fingerprint for other in others)}) == 4


def test_large_files_are_sampled_from_end_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr(vector_files, "HASHED_WHOLE", 4096)
    monkeypatch.setattr(vector_files, "BLOCK", 256)
    path = tmp_path / "large"
    data = bytearray(os.urandom(100_000))
    path.write_bytes(data)
    first = vector_files.sampled_sha256(path)
    for place in (0, 50, 99_990):
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(changed)
        assert vector_files.sampled_sha256(path) != first
    path.write_bytes(data + b"0")
    assert vector_files.sampled_sha256(path) != first


def test_queries_and_texts_without_an_encoder(npy):
    encoder = PrecomputedVectors(npy, IDS)
    with pytest.raises(EncoderError, match=r"no `query_encoder`"):
        encoder.encode_queries(["q"])
    with pytest.raises(EncoderError, match=r"chunking method 'none'"):
        encoder.encode(["text"])
    with pytest.raises(EncoderError, match=r"must have dimension 8.*table:test has 24"):
        PrecomputedVectors(npy, IDS, query_encoder=TableEncoder())


def test_each_document_is_one_passage(npy):
    encoder = PrecomputedVectors(npy, IDS)
    chunker = Chunker.for_encoder(encoder, None, None)
    assert chunker.settings() == {
        "method": "none", "units": "documents", "size": 1, "overlap": 0,
    }  # fmt: skip
    assert Chunker.from_settings(chunker.settings(), encoder) == chunker
    with pytest.raises(ArgumentError, match=r"must be 'none' with precomputed:.*'tokens'"):
        Chunker.for_encoder(encoder, None, None, "tokens")
    with pytest.raises(ArgumentError, match=r"must be 'none'"):
        Chunker.from_settings(Chunker(10, 2).settings(), encoder)


def test_answers_are_checked_by_id(npy, tmp_path, vectors):
    vectors[3, 2] = np.nan
    np.save(tmp_path / "nan.npy", vectors)
    encoder = PrecomputedVectors(tmp_path / "nan.npy", IDS)
    with pytest.raises(EncoderError, match=r"NaN or infinity for 'doc 3é'"):
        check_vectors(encoder.encode_documents(IDS[:5], [""] * 5), 8, IDS[:5], True)
    unit = check_vectors(encoder.encode_documents(IDS[4:6], ["", ""]), 8, IDS[4:6], True)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)


def test_ids_that_share_half_a_hash(monkeypatch):
    table = IdTable(IDS)
    expected = table.rows([*IDS, "none"]).tolist()
    assert expected == [*range(200), -1]
    from retrieval_index.encoders import document_ids

    real = document_ids._hashes

    def colliding(ids):
        hashes = real(ids).copy()
        hashes[:, 0] %= 5
        return hashes

    monkeypatch.setattr(document_ids, "_hashes", colliding)
    assert IdTable(IDS).rows([*IDS, "none"]).tolist() == expected
    assert IdTable([]).rows(["a"]).tolist() == [-1]


def test_mapped_pages_are_given_back(npy, vectors, monkeypatch):
    monkeypatch.setattr(vector_files, "GIVE_BACK_AFTER", 100)
    encoder = PrecomputedVectors(npy, IDS)
    for _ in range(3):
        got = encoder.encode_documents(IDS, [""] * 200)
        np.testing.assert_array_equal(got, vectors)
