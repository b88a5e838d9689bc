"""Inverted lists that are trained once and filled in several places are those of one machine."""

import pytest
from index_helpers import TableEncoder, numbered

import retrieval_index
from retrieval_index import (
    ArgumentError,
    BuildLockedError,
    CorpusError,
    CorruptIndexError,
    IndexNotFoundError,
    distributed,
)
from retrieval_index.distributed.lists import filled_file, record_file, trained_file
from retrieval_index.distributed.plan import Place
from retrieval_index.storage.workspace import exclusive

COUNT = 400
NUMBER = 3


def build_parts(out, index, count=COUNT, ids=range(NUMBER)):
    for shard_id in ids:
        distributed.build_part(
            numbered(count), out, TableEncoder(), shard_id=shard_id, shard_num=NUMBER,
            index=index, language=None,
        )  # fmt: skip


def fill(out, ids=(2, 0, 1)):
    return [distributed.fill_part(out, shard_id=i, shard_num=NUMBER) for i in ids]


@pytest.mark.parametrize(
    "index", ["IVF8,Flat", "IVF8,SQ8", "IVF8,PQ12x4fs", "IVF8,RaBitQfs", "IVF8_HNSW8,SQ8"]
)
def test_the_same_as_on_one_machine(tmp_path, index):
    one = retrieval_index.build(
        numbered(COUNT), tmp_path / "one", TableEncoder(), index=index, language=None
    )
    out = tmp_path / "many"
    build_parts(out, index)
    assert distributed.train(out, NUMBER) == trained_file(Place(out, 0, NUMBER))
    fill(out)
    many = distributed.finish(out, NUMBER, encoder=TableEncoder(), remove_parts=True)
    files = [i.info()["segments"][0]["files"] for i in (one, many)]
    # Packed blocks of 32 codes ("fs") differ in places that no code uses.
    for key in {"raw"} if index.endswith("fs") else {"vectors", "raw"} & set(files[0]):
        assert files[0][key]["sha256"] == files[1][key]["sha256"]
    queries = [text for _, text in numbered(50)]
    assert one.search(queries, k=10) == many.search(queries, k=10)
    entries = [i.info()["segments"][0]["vectors"] for i in (one, many)]
    assert entries[0]["parameters"] == entries[1]["parameters"]
    assert entries[0]["measured"]["recall"] == entries[1]["measured"]["recall"]
    retrieval_index.verify(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many", "one"]


def test_what_was_filled_is_joined_and_not_made_again(tmp_path, monkeypatch):
    from retrieval_index.vectors import filling

    out = tmp_path / "i"
    build_parts(out, "IVF8,SQ8")
    distributed.train(out, NUMBER)
    fill(out)
    monkeypatch.setattr(filling, "train_empty", None)
    index = distributed.finish(out, NUMBER, encoder=TableEncoder())
    assert [p.document_id for p in index.search(numbered(1)[0][1], k=1)] == ["d0"]


def test_a_range_that_is_filled_is_left_alone(tmp_path):
    out = tmp_path / "i"
    build_parts(out, "IVF8,Flat")
    distributed.train(out, NUMBER)
    (path,) = fill(out, ids=[1])
    before = path.stat().st_mtime_ns
    assert fill(out, ids=[1]) == [path] and path.stat().st_mtime_ns == before
    record_file(path).unlink()  # killed a moment before the end
    fill(out, ids=[1])
    assert path.stat().st_mtime_ns != before
    busy = path.with_name(f".{path.stem}.building")
    with exclusive(busy), pytest.raises(BuildLockedError):
        fill(out, ids=[1])


def test_missing_and_other_steps(tmp_path):
    out = tmp_path / "i"
    build_parts(out, "IVF8,Flat", ids=[0, 1])
    with pytest.raises(IndexNotFoundError, match="missing: 2"):
        distributed.train(out, NUMBER)
    build_parts(out, "IVF8,Flat", ids=[2])
    with pytest.raises(IndexNotFoundError, match=r"distributed\.train"):
        fill(out)
    distributed.train(out, NUMBER)
    fill(out, ids=[1])
    with pytest.raises(IndexNotFoundError, match="missing: 0, 2"):
        distributed.finish(out, NUMBER)
    # A part that was built again has other vectors, perhaps: what was trained on them is void.
    fill(out)
    place = Place(out, 0, NUMBER)
    place.record.unlink()
    for path in sorted(place.folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    place.folder.rmdir()
    build_parts(out, "IVF8,Flat", ids=[0])
    with pytest.raises(IndexNotFoundError, match="of others"):
        distributed.finish(out, NUMBER)
    trained_file(place).unlink()
    assert len(distributed.finish(out, NUMBER, encoder=TableEncoder())) == COUNT


@pytest.mark.parametrize("which", ["trained", "filled", "record"])
def test_damage(tmp_path, which):
    out = tmp_path / "i"
    build_parts(out, "IVF8,Flat")
    path = distributed.train(out, NUMBER)
    fill(out)
    if which != "trained":
        path = filled_file(Place(out, 1, NUMBER))
    if which == "record":
        path = record_file(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data[: len(data) // 2] if which == "record" else data)
    with pytest.raises(CorruptIndexError):
        distributed.finish(out, NUMBER)


@pytest.mark.parametrize("index", ["Flat", "HNSW8"])
def test_kinds_without_lists(tmp_path, index):
    build_parts(tmp_path / "i", index)
    with pytest.raises(ArgumentError, match="no inverted lists"):
        distributed.train(tmp_path / "i", NUMBER)


def test_nothing_to_train_on(tmp_path):
    build_parts(tmp_path / "i", None, count=0)
    with pytest.raises(CorpusError, match="at least one document"):
        distributed.train(tmp_path / "i", NUMBER)
