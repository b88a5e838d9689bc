"""Workers on Ray, one of them killed; Ray itself is started twice only, as that takes seconds."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from index_helpers import TableEncoder, numbered

import retrieval_index
from retrieval_index import ArgumentError, RetrievalIndexError, distributed
from retrieval_index.distributed import on_ray
from retrieval_index.distributed.lists import train
from retrieval_index.distributed.plan import Place
from retrieval_index.distributed.ray_cluster import PartWorker, connected
from retrieval_index.errors import WorkerLostError

COUNT = 120
SMALL = {"shard_size": 8, "batch_size": 4}


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.jsonl"
    lines = [json.dumps({"_id": name, "text": text}) for name, text in numbered(COUNT)]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def importable(monkeypatch):
    """Workers find `index_helpers` too, whose classes are sent by name."""
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")  # with one of its own, none is put into ~/.ray
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 32)


def slow_encoder():
    return TableEncoder(delay=0.1)


def broken_encoder():
    return TableEncoder(fail_after=24)


def deadly_encoder():
    os._exit(1)


class Killer(threading.Thread):
    """Kills the process that builds a part, once two of its shards are durable."""

    def __init__(self, place):
        super().__init__(daemon=True)
        self.place = place
        self.killed = None

    def run(self):
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if len(list(self.place.workspace.glob("shard-*.json"))) >= 2:
                owner = json.loads((self.place.workspace / "owner.json").read_text())
                self.killed = owner["process"]
                os.kill(self.killed, signal.SIGKILL)
                return
            time.sleep(0.01)


def assert_gone(process):
    deadline = time.monotonic() + 30
    while Path(f"/proc/{process}").exists():
        assert time.monotonic() < deadline, f"process {process} is left"
        time.sleep(0.05)


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_killed_worker_is_replaced(tmp_path, corpus, importable):
    ray = pytest.importorskip("ray")
    out = tmp_path / "many"
    killer = Killer(Place(out, 0, 2))
    killer.start()
    index = distributed.build(corpus, out, slow_encoder, workers=2, **SMALL)
    killer.join()
    assert killer.killed and killer.killed != os.getpid()
    assert not ray.is_initialized()
    assert_gone(killer.killed)
    one = retrieval_index.build(corpus, tmp_path / "one", TableEncoder(), **SMALL)
    assert index.report.reused_chunks >= 16  # what was durable when it was killed
    assert index.report.encoded_chunks + index.report.reused_chunks == COUNT
    assert list(index.documents()) == list(one.documents())
    queries = [text for _, text in numbered(COUNT)]
    for mode in ("dense", "hybrid"):
        assert index.search(queries, k=5, mode=mode) == one.search(queries, k=5, mode=mode)
    for key in ("vectors", "chunks"):
        files = [i.info()["segments"][0]["files"][key]["sha256"] for i in (index, one)]
        assert files[0] == files[1]
    retrieval_index.verify(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.jsonl", "many", "one"]


def test_in_a_cluster_that_is_there(tmp_path, corpus, importable, monkeypatch):
    """It is left running; what an encoder raises arrives; the next call continues.

    There is room for one of three workers: it does all of the work.
    """
    ray = pytest.importorskip("ray")
    with connected(ray, None, cpus=1):
        assert [node["NodeManagerAddress"] for node in ray.nodes()] == ["127.0.0.1"]
        out = tmp_path / "many"
        with pytest.raises(RuntimeError, match="the encoder broke"):
            distributed.build(corpus, out, broken_encoder, workers=3, **SMALL)
        index = distributed.build(corpus, out, TableEncoder, workers=3, **SMALL)
        assert index.report.reused_chunks == 24
        with pytest.raises(retrieval_index.EncoderError, match="unknown provider"):
            distributed.build(corpus, tmp_path / "other", "nobody:knows", workers=3, num_cpus=0.5)
        with pytest.raises(WorkerLostError, match="at part"):
            distributed.build(corpus, tmp_path / "other", deadly_encoder, retries=0)
        monkeypatch.setattr(on_ray, "FILL_FROM", COUNT)  # workers fill the inverted lists too
        trained = []
        monkeypatch.setattr(on_ray, "train", lambda *a, **k: trained.append(train(*a, **k)))
        settings = {"index": "IVF2,Flat"}
        other = distributed.build(
            corpus, tmp_path / "other", "hashing:32", workers=3, num_cpus=0.5, shard_num=4,
            **settings,
        )  # fmt: skip
        assert len(trained) == 1 and not trained[0].exists() and ray.is_initialized()
    assert not ray.is_initialized()
    one = retrieval_index.build(corpus, tmp_path / "one", "hashing:32", **settings)
    files = [i.info()["segments"][0]["files"]["vectors"]["sha256"] for i in (other, one)]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"encoder": TableEncoder()}, "`encoder` must be the name"),
        ({"encoder": 3}, "`encoder` must be the name"),
        ({"corpus": iter([])}, "`corpus` must be a path"),
        ({"corpus": [("a", "text")]}, "`corpus` must be a path"),
        ({"workers": 0}, "`workers`"),
        ({"num_cpus": -1}, "`num_cpus`"),
        ({"num_gpus": "1"}, "`num_gpus`"),
        ({"retries": -1}, "`retries`"),
        ({"shard_num": 0}, "`shard_num`"),
        ({"shard_id": 0}, "`shard_id` is no option here"),
    ],
)
def test_arguments(tmp_path, corpus, arguments, said):
    given = {"corpus": corpus, "out": tmp_path / "i", "encoder": "hashing"} | arguments
    with pytest.raises(ArgumentError, match=said):
        distributed.build(**given)


def test_without_ray(tmp_path, corpus, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RetrievalIndexError, match=r"pip install 'kzoo\[ray\]'"):
        distributed.build(corpus, tmp_path / "i", "hashing")


def test_an_index_that_is_there_is_refused_before_the_work(tmp_path, corpus):
    retrieval_index.build(corpus, tmp_path / "i", "hashing")
    with pytest.raises(retrieval_index.IndexExistsError):
        distributed.build(corpus, tmp_path / "i", "hashing")


def test_a_worker_waits_for_the_lock(tmp_path, corpus, monkeypatch):
    """A shared file system may still hold the lock of the worker that died."""
    from retrieval_index.distributed import ray_cluster
    from retrieval_index.storage.workspace import exclusive

    monkeypatch.setattr(ray_cluster, "LOCK_PAUSE", 0.01)
    made = PartWorker("hashing:32", tmp_path / "i", 2, {})
    place = Place(tmp_path / "i", 0, 2)
    place.folder.parent.mkdir()
    held = exclusive(place.workspace)
    held.__enter__()
    timer = threading.Timer(0.2, held.__exit__, (None, None, None))
    timer.start()
    assert made.build(corpus, 0).report.documents == COUNT // 2
    timer.join()
    monkeypatch.setattr(ray_cluster, "LOCK_PATIENCE", 0.0)
    place = Place(tmp_path / "i", 1, 2)
    with exclusive(place.workspace), pytest.raises(retrieval_index.BuildLockedError):
        made.build(corpus, 1)
