"""Changes of an index that are broken off, and what is found after them."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _durability_work import SHARD, SlowEncoder, change, work

import retrieval_index

COUNT = 28  # documents of an index, or of an addition
DELAY = 0.01  # seconds in the encoder for each batch
Texts = dict[str, str]

# Children are forked from a process that has imported everything and started no thread.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["_durability_preload"])


class Loss(Exception):
    """What was lost, doubled or unreadable."""


class Trial:
    """Changes that are broken off, and what was found after them.

    Args:
        folder: Where the indexes lie.
        seed: Chooses moments and documents.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.rows: Counter[tuple[str, str, str, str]] = Counter()
        self.losses: list[str] = []
        self.reused = 0
        self._seconds: dict[str, float] = {}
        self._calls: dict[str, int] = {}
        self._serial = 0
        self._ran = 0.0

    def documents(self, count: int, names: Sequence[str] | None = None) -> list[tuple[str, str]]:
        """Returns new texts, with new ids or those given."""
        found = []
        for place in range(count):
            self._serial += 1
            name = names[place] if names else f"d{self._serial}"
            found.append((name, f"Text {self._serial} about {self.random.randrange(1000)}."))
        return found

    def once(self, job: dict[str, Any], old: Texts | None, new: Texts, how: str) -> bool:
        """Breaks one change off, looks at what is there, and makes it again.

        Args:
            job: As in `change`.
            old: Documents before it; None: there was no index.
            new: Documents after it.
            how: "kill", "encoder", "disk full" or "file limit".

        Returns:
            Whether it was broken off at all: a process may end before it is killed.
        """
        kind, path = job["change"], Path(job["path"])
        stage, code = self._run(job, self._fate(kind, how))
        try:
            if stage.startswith("!"):
                raise Loss(f"the change failed: {stage}")
            if how != "kill" and code not in (0, 3):
                raise Loss(f"the process ended with {code}")
            found = self._look(path, old, new)
            shards = len(list(path.parent.glob(f".{path.name}.building/shard-*.json")))
            encoder = SlowEncoder()
            change({**job, "overwrite": found == "after"}, encoder)
            if self._look(path, new, new) == "lost":
                raise Loss("the change, made again, is not there")
            if kind in ("build", "add", "update") and found == "before":
                fresh = len(job["documents"])
                # Sentences for measuring are encoded too, as long as the index is not exact.
                if job.get("index", "Flat") == "Flat" and encoder.encoded != fresh - SHARD * shards:
                    raise Loss(f"{encoder.encoded} of {fresh} encoded, {shards} shards were there")
                self.reused += shards
            left = [p.name for p in path.parent.glob(f".{path.name}.*")]
            if left:
                raise Loss(f"left behind: {left}")
        except Exception as error:
            found = "LOST"
            self.losses.append(f"{how} {kind} in {stage}: {type(error).__name__}: {error}")
        self.rows[how, kind, stage.split(":")[0], found] += 1
        return stage != "finished"

    def _look(self, path: Path, old: Texts | None, new: Texts) -> str:
        try:
            with retrieval_index.open(path, SlowEncoder()) as index:
                texts = {d.id: d.text for d in index.documents()}
                passages = index.search("anything", k=10_000)
                hits = Counter(p.document_id for p in passages)
                if set(hits) != set(texts) or max(hits.values(), default=1) > 1:
                    raise Loss("a search does not find every document once")
                if any(texts[p.document_id] != p.text for p in passages):
                    raise Loss("a search finds another text")
                for name in list(texts)[:3]:
                    best = index.search(texts[name], k=1)[0]
                    if best.document_id != name or best.score < 0.999:
                        raise Loss(f"{name} has another vector")
        except retrieval_index.IndexNotFoundError:
            if old is not None:
                raise
            return "before"
        retrieval_index.verify(path)
        if texts == new:
            return "after"
        if texts == old:
            return "before"
        raise Loss(f"{len(texts)} documents, neither the {len(old or ())} nor the {len(new)}")

    def _fate(self, kind: str, how: str) -> dict[str, Any]:
        calls = self._calls.get(kind, 10)
        if how == "encoder":
            return {"fail_after": self.random.randrange(COUNT)}
        if how == "disk full":
            return {"full": self.random.randint(1, calls)}
        if how == "file limit":
            return {"bytes": int(10 ** self.random.uniform(0, 5))}
        if how != "kill":
            return {}
        if self.random.random() < 0.5:
            step = self.random.randint(1, calls)
            return {"delay": 0.0, "step": step, "after": self.random.random() < 0.5}
        return {"delay": DELAY, "kill": self.random.uniform(0, 1.05) * self._seconds[kind]}

    def measure(self, job: dict[str, Any]) -> None:
        """Runs a change undisturbed; notes how long it takes and how often it calls the disk."""
        calls = PROCESSES.Value("i", 0, lock=False)
        stage, code = self._run(job, {"delay": DELAY, "count": calls})
        if code:
            raise SystemExit(f"{job['change']}, undisturbed, ended with {code}: {stage}")
        self._seconds[job["change"]] = self._ran
        self._calls[job["change"]] = calls.value

    def _run(self, job: dict[str, Any], fate: dict[str, Any]) -> tuple[str, int]:
        stage = PROCESSES.Array("c", 64, lock=False)
        stage.value = b"starting"
        child = PROCESSES.Process(target=work, args=(job, stage, fate))
        child.start()
        while stage.value == b"starting" and child.is_alive():
            time.sleep(0.0005)
        began = time.perf_counter()
        child.join(fate.get("kill", 120))
        self._ran = time.perf_counter() - began
        if "kill" in fate:
            child.kill()
        elif child.is_alive():
            child.kill()
            self.losses.append(f"{job['change']} {fate} did not end")
        child.join()
        return stage.value.decode(), child.exitcode or 0
