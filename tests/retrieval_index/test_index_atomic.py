"""A crash at any step of writing leaves the old state or the new one."""

import os
import shutil
from pathlib import Path

import pytest
from index_helpers import TableEncoder, numbered

import retrieval_index
from retrieval_index import IndexExistsError, IndexNotFoundError, build

STEPS = ("replace", "fsync", "rmdir", "mkdir", "unlink")


class Crash(BaseException):
    """Stands for a power cut: nothing may catch it and tidy up."""


class Crashing:
    """Counts the calls that change the disk, and ends the process at one of them."""

    def __init__(self, monkeypatch, at=None):
        self.calls = 0
        self.at = at
        self.down = False
        for name in STEPS:
            monkeypatch.setattr(os, name, self._wrap(getattr(os, name)))
        # Once the power is off, nobody tidies up either.
        remove_tree = shutil.rmtree
        monkeypatch.setattr(
            shutil, "rmtree", lambda *a, **kw: None if self.down else remove_tree(*a, **kw)
        )

    def _wrap(self, real):
        def call(*args, **kwargs):
            self.calls += 1
            if self.down or self.calls == self.at:
                self.down = True
                raise Crash
            return real(*args, **kwargs)

        return call


def build_new(out):
    return build(numbered(30), out, TableEncoder(), shard_size=15, overwrite=True)


def steps(tmp_path, prepare):
    """Returns the number of disk changes in an undisturbed build."""
    out = tmp_path / "count" / "i"
    prepare(out)
    with pytest.MonkeyPatch.context() as patch:
        counter = Crashing(patch)
        build_new(out)
    return counter.calls


def crash_at(step, out):
    with pytest.MonkeyPatch.context() as patch:
        Crashing(patch, at=step)
        with pytest.raises(Crash):
            build_new(out)


def nothing(out):
    out.parent.mkdir(parents=True)


def empty_folder(out):
    out.mkdir(parents=True)


def old_index(out):
    out.parent.mkdir(parents=True)
    build([("old", "The old text.")], out, TableEncoder())


@pytest.mark.parametrize("prepare", [nothing, empty_folder, old_index])
def test_crash_at_every_step(tmp_path, prepare):
    total = steps(tmp_path, prepare)
    assert total > 15
    states = []
    for step in range(1, total + 1):
        out = tmp_path / str(step) / "i"
        prepare(out)
        crash_at(step, out)
        try:
            with retrieval_index.open(out) as index:
                states.append(index.info()["documents"])
            retrieval_index.verify(out)
        except IndexNotFoundError:
            states.append(0)
        # Whatever was left behind, the next build succeeds, and nothing of it stays.
        assert len(build_new(out)) == 30
        retrieval_index.verify(out)
        assert [path.name for path in out.parent.iterdir()] == ["i"]
        assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "segments"]
        assert len(list((out / "segments").iterdir())) == 1
    before = 1 if prepare is old_index else 0
    # First the old state, then the new one, and no other.
    assert states == sorted(states) and set(states) == {before, 30}


def test_reader_keeps_the_version_it_opened(tmp_path):
    build([("old", "The old text.")], tmp_path / "i", TableEncoder())
    reader = retrieval_index.open(tmp_path / "i", TableEncoder())
    build_new(tmp_path / "i")
    assert [p.text for p in reader.search("anything")] == ["The old text."]
    assert len(retrieval_index.open(tmp_path / "i")) == 30


def test_opening_while_a_version_is_replaced(tmp_path, monkeypatch):
    from retrieval_index.searching import opening as module

    out = tmp_path / "i"
    build([("old", "The old text.")], out, TableEncoder())
    real, calls = module.read_manifest, []

    def slow_reader(folder):
        manifest = real(folder)
        calls.append(manifest.build_id)
        if len(calls) == 1:
            monkeypatch.setattr(module, "read_manifest", real)
            build_new(out)  # commits between the reading of the manifest and of the files
            monkeypatch.setattr(module, "read_manifest", slow_reader)
        return manifest

    monkeypatch.setattr(module, "read_manifest", slow_reader)
    assert len(retrieval_index.open(out)) == 30
    assert len(calls) == 2


def test_existing_index_is_not_replaced_unasked(tmp_path):
    build(numbered(3), tmp_path / "i", TableEncoder())
    encoder = TableEncoder()
    with pytest.raises(IndexExistsError, match=r"holds an index already.*overwrite=True"):
        build(numbered(4), tmp_path / "i", encoder)
    assert encoder.encoded == 0
    assert len(retrieval_index.open(tmp_path / "i")) == 3


def test_other_content_is_never_replaced(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    (tmp_path / "file").write_text("precious")
    with pytest.raises(IndexExistsError, match="holds files that are no index"):
        build(numbered(3), tmp_path / "full", TableEncoder(), overwrite=True)
    with pytest.raises(IndexExistsError, match="is a file"):
        build(numbered(3), tmp_path / "file", TableEncoder(), overwrite=True)
    assert (tmp_path / "full" / "thesis.txt").read_text() == "precious"


def test_overwriting_leaves_other_files_alone(tmp_path):
    build(numbered(3), tmp_path / "i", TableEncoder())
    (tmp_path / "i" / "notes.txt").write_text("mine")
    build_new(tmp_path / "i")
    build_new(tmp_path / "i")
    assert sorted(p.name for p in (tmp_path / "i").iterdir()) == [
        "manifest.json", "notes.txt", "segments",
    ]  # fmt: skip
    assert [p.name for p in (tmp_path / "i" / "segments").iterdir()] == ["s000003"]


def test_out_through_a_link_and_relative(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    build(numbered(3), tmp_path / "link", TableEncoder())
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "manifest.json").exists()
    monkeypatch.chdir(tmp_path)
    index = build(numbered(3), Path("deep/er/i"), TableEncoder())
    monkeypatch.chdir("/")
    assert len(index.search("q")) == 3 and index.path == tmp_path / "deep/er/i"
