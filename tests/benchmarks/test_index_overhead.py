"""`benchmarks/index_overhead.py` from end to end on few documents, and the clock of stages."""

import json
import threading

import index_overhead
import numpy as np
import pytest
from _memory import PeakMemory
from _overhead_worker import Replay, encoded
from _raw_search import in_turns
from _stage_clock import StageClock, time_build


def test_building_and_searching_are_compared(tmp_path):
    corpus = tmp_path / "corpus.jsonl"
    texts = [f"Document {i} is about the number {i}, and tells what {i} is." for i in range(150)]
    corpus.write_text(
        "\n".join(json.dumps({"_id": f"{i}", "text": t}) for i, t in enumerate(texts))
    )
    out = tmp_path / "out.json"
    argv = ["--corpus", str(corpus), "--encoder", "hashing:32", "--passages", "120", "--work"]
    argv += [str(tmp_path), "--repeats", "1", "--replays", "1", "--rounds", "2", "--queries", "100"]
    found = index_overhead.main([*argv, "--indexes", "HNSW16", "IVF4,SQ8", "--json", str(out)])
    sides = found["build"]["runs"]
    assert {run["passages"] for several in sides.values() for run in several} == {120}
    middle = found["build"]["medians"]
    assert (
        found["build"]["ratios"]["seconds"]
        == middle["build"]["seconds"] / middle["encode"]["seconds"]
    )
    stages = found["build"]["stages"]
    assert {"reading", "chunking", "BM25: words", "document store", "checksums"} <= stages.keys()
    assert sum(stages.values()) > 0
    one = found["search"]["HNSW16"]
    assert one["same_results"] == 1  # the same parameters, or the comparison says nothing
    assert {way: len(taken) for way, taken in one["batch"].items()} == {
        "faiss": 2, "searcher": 2, "index": 2,
    }  # fmt: skip
    assert len(one["single"]["faiss"]) == 100
    lossy = found["search"]["IVF4,SQ8"]
    # Where lists are this short, the index looks into more of them to find ten.
    assert lossy["same_results"] > 0.8 and len(lossy["batch"]["refined"]) == 2
    assert json.loads(out.read_text())["build"] == found["build"]
    assert {path.name for path in tmp_path.iterdir()} == {"corpus.jsonl", "out.json"}


def test_passages_are_encoded_in_the_batches_of_a_build():
    seen = []

    class Recording:
        dimension = 1

        def encode(self, texts):
            seen.append(list(texts))
            return np.array([[len(text)] for text in texts], np.float32)

    texts = ["a", "bbb", "cc", "dddd", "e"]
    assert encoded(Recording(), texts, batch_size=2, shard_size=3).ravel().tolist() == [
        1,
        3,
        2,
        4,
        1,
    ]
    assert seen == [["bbb", "cc"], ["a"], ["dddd", "e"]]


def test_replay_gives_the_vectors_of_the_texts():
    class Known:
        name, fingerprint, dimension, max_tokens = "a:b", "c", 2, None

        def encode(self, texts):
            return np.array([[7, len(text)] for text in texts], dtype=np.float32)

    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    replay = Replay(Known(), ["x", "y", "z"], vectors)
    assert replay.encode(["z", "x"]).tolist() == [[4, 5], [0, 1]]
    assert replay.encode(["a query", "x"]).tolist() == [[7, 7], [0, 1]]  # no passage: encoded


class Work:
    @staticmethod
    def items():
        yield 1
        yield 2

    def inner(self):
        return threading.get_ident()

    def outer(self):
        return self.inner()


def test_nested_stages_are_counted_once_and_functions_restored(monkeypatch):
    ticks = iter(range(100))
    monkeypatch.setattr("_stage_clock.time.perf_counter", lambda: next(ticks))
    before = Work.outer
    with StageClock() as clock:
        clock.time(Work, "inner", "inside")
        clock.time(Work, "outer", "around")
        assert Work().outer() == threading.get_ident()
        # outer from 0 to 1, inner from 1 to 2, outer from 2 to 3
        assert clock.seconds == {"around": 2, "inside": 1}
    assert Work.outer is before


def test_generators_are_timed_item_by_item(monkeypatch):
    ticks = iter(range(100))
    monkeypatch.setattr("_stage_clock.time.perf_counter", lambda: next(ticks))

    class Source:
        def items(self):
            yield from (1, 2)

    with StageClock() as clock:
        clock.time(Source, "items", "reading")
        assert list(Source().items()) == [1, 2]
    assert clock.seconds == {"reading": 3}  # two items and the end


def test_a_build_is_timed_and_its_functions_restored():
    from retrieval_index.building import builder
    from retrieval_index.chunking.chunker import Chunker

    before = builder.commit, Chunker.split_many
    with StageClock() as clock:
        time_build(clock)
        assert builder.commit is not before[0]
    assert (builder.commit, Chunker.split_many) == before


def test_ways_take_turns():
    order = []
    ways = {name: lambda part, name=name: order.append((name, part)) for name in "abc"}
    taken = in_turns(ways, [0, 1], rounds=2)
    assert [name for name, part in order if part == 0] == list("abccab")
    assert {name: len(values) for name, values in taken.items()} == dict.fromkeys("abc", 4)


def test_peak_memory_sees_what_was_freed():
    with PeakMemory() as memory:
        size = 300 * 2**20
        held = np.ones(size // 8)
        del held
    if memory.before == 0:
        pytest.skip("this system does not tell")
    assert memory.resident >= size
