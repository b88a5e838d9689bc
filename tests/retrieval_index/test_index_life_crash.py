"""A crash at any step of any change leaves the old version or the new one, and blocks nothing."""

import shutil

import pytest
from index_helpers import TableEncoder, numbered
from test_index_atomic import Crash, Crashing

import retrieval_index
from retrieval_index import build
from retrieval_index.storage.commit import snapshot_manifests
from retrieval_index.storage.manifest import read_manifest

SHARD = {"shard_size": 4}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """Two segments, deletions in both, and a snapshot of what was before them."""
    folder = tmp_path_factory.mktemp("crash")
    path = folder / "i"
    # Lossy, with a file of raw vectors beside it.
    build(numbered(12), path, TableEncoder(), index="SQ8", **SHARD).close()
    retrieval_index.snapshot(path, "first")
    retrieval_index.add(path, [("x1", "An added text."), ("x2", "Another one.")], TableEncoder())
    retrieval_index.delete(path, ["d3", "x1"])
    build([("m1", "Merged."), ("d5", "Repeated.")], folder / "other", TableEncoder()).close()
    return folder


def add(path):
    new = [(f"n{i}", f"New text {i}.") for i in range(6)]
    retrieval_index.update(path, new, TableEncoder(), **SHARD)  # add, but silent when repeated


def update(path):
    new = [("d1", "Replaced."), ("d2", "Replaced too."), ("n9", "New."), ("x2", "Another one.")]
    retrieval_index.update(path, new, TableEncoder(), **SHARD)


def delete(path):
    retrieval_index.delete(path, ["d0", "x2"], missing="ignore")  # and so a whole segment


def compact(path):
    retrieval_index.compact(path)


def snapshot(path):
    if "second" not in snapshot_manifests(path):
        retrieval_index.snapshot(path, "second")


def restore(path):
    retrieval_index.restore(path, "first")


def drop(path):
    if "first" in snapshot_manifests(path):
        retrieval_index.drop_snapshot(path, "first")


def merge(path):
    retrieval_index.merge(
        [path.with_name("j"), path.with_name("other")], path, overwrite=True
    ).close()


def state(path):
    """Everything a reader can see."""
    found = {}
    for name in (None, *snapshot_manifests(path)):
        with retrieval_index.open(path, TableEncoder(), snapshot=name) as index:
            texts = {d.id: d.text for d in index.documents()}
            hits = {p.document_id: p.text for p in index.search("text", k=100)}
            assert hits == texts
            found[name] = texts
    return found


def listing(path):
    """Every file and folder, with what tells it from others of its name."""
    return {p: (p.stat().st_ino, p.stat().st_size, p.stat().st_mtime_ns) for p in path.rglob("*")}


def crash(change, path, at):
    with pytest.MonkeyPatch.context() as patch:
        Crashing(patch, at=at)
        with pytest.raises(Crash):
            change(path)


def nothing_is_left_behind(path):
    assert not list(path.parent.glob(".*"))
    kept = [read_manifest(path), *snapshot_manifests(path).values()]
    wanted = {entry.path for manifest in kept for entry in manifest.all_files()}
    wanted |= {"manifest.json", *(f"snapshots/{name}.json" for name in snapshot_manifests(path))}
    assert {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()} == wanted


@pytest.mark.parametrize(
    "change", [add, update, delete, compact, snapshot, restore, drop, merge],
    ids=lambda change: change.__name__,
)  # fmt: skip
def test_crash_at_every_step_of_a_change(pristine, tmp_path, change):
    def fresh(name):
        folder = shutil.copytree(pristine, tmp_path / name)
        if change is merge:  # onto an index that is there
            shutil.copytree(folder / "i", folder / "j")
        return folder / "i"

    path = fresh("count")
    old = state(path)
    with pytest.MonkeyPatch.context() as patch:
        counter = Crashing(patch)
        change(path)
    new = state(path)
    nothing_is_left_behind(path)
    assert counter.calls >= 3 and (new != old or change is compact)
    versions = []
    for step in range(1, counter.calls + 1):
        path = fresh(str(step))
        before, files = read_manifest(path), listing(path)
        crash(change, path, step)
        beside = listing(path) == files  # it was still busy in its workspace
        if beside:
            found = old
        else:
            found = state(path)
            retrieval_index.verify(path)
        assert found in (old, new)
        after = read_manifest(path)
        versions.append((found == new and after.build_id != before.build_id, found == new))
        if beside and step % 3:  # many steps, much alike: a third of them is taken up again
            shutil.rmtree(path.parent)
            continue
        # Whatever was left behind, the same change can be made now; what is there has been made.
        change(path)
        assert state(path) == new
        # ... and what stays of the crash is gone with the next change at the latest.
        retrieval_index.delete(path, "d7")
        nothing_is_left_behind(path)
        shutil.rmtree(path.parent)
    assert versions == sorted(versions)
