"""Random lives: after each change, every kind of search answers as a plain Python model does."""

import random

import pytest
from index_helpers import TableEncoder
from life_model import SETTINGS, Model, check, document, opened

import retrieval_index
from retrieval_index import build

QUERIES = ["bador", "kefim logul nurez", "mipat mipat bagul", "no such word"]
STEPS = 9


def some(rng, count):
    """Documents with ids that come again and again."""
    return [document(rng, f"d{rng.randrange(30)}") for _ in range(count)]


def add(rng, path, model):
    documents = some(rng, rng.randint(1, 8))
    before = set(model.live)
    taken = model.add(documents)
    with pytest.warns(retrieval_index.RetrievalIndexWarning) if taken < len(documents) else none():
        report = retrieval_index.add(path, documents, TableEncoder(), shard_size=4)
    old = sum(d.id in before for d in documents)
    assert report.documents == taken
    assert report.skipped.get("existing_id", 0) == old
    assert report.skipped_total == len(documents) - taken


def update(rng, path, model):
    documents = some(rng, rng.randint(1, 6))
    if model.live:
        documents += rng.sample(list(model.live.values()), min(2, len(model.live)))
    counts = model.update(documents)
    encoder = TableEncoder()
    with (
        pytest.warns(retrieval_index.RetrievalIndexWarning)
        if (counts[0] + counts[2] < len(documents))
        else none()
    ):
        report = retrieval_index.update(path, documents, encoder, shard_size=4)
    assert (report.documents, report.replaced, report.unchanged) == counts
    # Sentences of the segment are encoded to measure approximate indexes; passages only once.
    assert report.encoded_chunks == report.chunks


def delete(rng, path, model):
    ids = [f"d{rng.randrange(30)}" for _ in range(rng.randint(1, 8))]
    there = set(ids) & set(model.live)
    assert retrieval_index.delete(path, ids, missing="ignore") == len(there)
    model.remove(there)


def delete_where(rng, path, model):
    year = rng.randint(1990, 2020)
    there = {d.id for d in model.live.values() if d.metadata["year"] == year}
    assert retrieval_index.delete(path, where={"year": year}) == len(there)
    model.remove(there)


def compact(rng, path, model):
    dirty = len(model.segments) > 1 or any(not a for s in model.segments for _, a in s)
    assert retrieval_index.compact(path, progress=False) == dirty
    model.compact()


def snapshot(rng, path, model):
    name = f"snap{len(model.kept)}"
    retrieval_index.snapshot(path, name)
    model.snapshot(name)


def restore(rng, path, model):
    if model.kept:
        name = rng.choice(sorted(model.kept))
        retrieval_index.restore(path, name)
        model.restore(name)


def merge(rng, path, model):
    documents = {d.id: d for d in some(rng, 5)}
    other = path.with_name("other")
    build(documents.values(), other, TableEncoder(), overwrite=True, **SETTINGS).close()
    merged = path.with_name("merged")
    index = retrieval_index.merge([path, other], merged, overwrite=True, progress=False)
    report = index.report
    index.close()
    repeated = len(set(documents) & set(model.live))
    assert report.skipped == ({"duplicate_id": repeated} if repeated else {})
    model.add(documents.values())
    model.compact()
    # The merged index goes on in the place of the old one, whose snapshots stay.
    retrieval_index.merge([merged], path, overwrite=True, progress=False).close()


CHANGES = [add, add, update, update, delete, delete_where, compact, snapshot, restore, merge]


class none:
    """No warning is expected, and pytest makes errors of others."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("factory", [None])
def test_random_life(tmp_path, seed, factory):
    live(tmp_path, seed, factory, exact=True)


@pytest.mark.parametrize(
    "factory", ["HNSW8", "HNSW8,SQ8", "IVF2,Flat", "IVF2,SQ8", "SQ8", "IVF2,PQ6x4fs", "IVF2,RaBitQ"]
)
def test_random_life_of_approximate_indexes(tmp_path, factory):
    live(tmp_path, 100, factory, exact=False, steps=6, first=20)


def live(tmp_path, seed, factory, exact, steps=STEPS, first=12):
    rng = random.Random(seed)
    path = tmp_path / "i"
    documents = {d.id: d for d in some(rng, first)}
    build(documents.values(), path, TableEncoder(), index=factory, **SETTINGS).close()
    model = Model(documents.values())
    for _ in range(steps):
        rng.choice(CHANGES)(rng, path, model)
        retrieval_index.verify(path)
        with opened(path) as index:
            check(index, model, rng.sample(QUERIES, 2), exact=exact)
    assert [p.name for p in path.parent.iterdir() if p.name.startswith(".")] == []
    for name in model.kept:
        model.restore(name)
        with retrieval_index.open(path, TableEncoder(), snapshot=name) as index:
            check(index, model, QUERIES[:1], exact=exact)
