"""Kills, full disks and broken encoders: nothing of an index may be lost, doubled or unreadable.

    python benchmarks/durability.py [--kills 100] [--seed 0]

A process builds an index with a slow encoder and is killed (SIGKILL) at a random moment: half of
the times by the clock, half at a random call that changes the disk (fsync, rename, mkdir, unlink,
rmdir), before or after it. Then the build is started again. Another index lives on through adds,
updates, deletions, compactions, merges and restores, each of them killed like that. `--kills` is
the number of kills of the build, and again of additions; of each other change it is a half.

After each kill: the version on the disk is the one before or the one after the change, all of it;
`verify` passes; a search finds every document at its place; the change, made again, succeeds; every
document is there exactly once, and shards that were durable were not encoded again.

The same then with an encoder that raises, with a disk that is full from a random call on, with
files that may not grow (RLIMIT_FSIZE) and, as root, on a real file system of too few bytes.

The exit status is 1 if anything was lost, doubled, or could not be read.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _durability_work import SHARD, SlowEncoder, change, small_disk, work
from rich.console import Console
from rich.table import Table

import retrieval_index

KINDS = ("Flat", "HNSW8", "SQ8", "IVF2,SQ8")
COUNT = 28
DELAY = 0.01
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

    def documents(self, count: int, names: Sequence[str] | None = None) -> list[tuple[str, str]]:
        """Returns new texts, with new ids or those given."""
        found = []
        for place in range(count):
            self._serial += 1
            name = names[place] if names else f"d{self._serial}"
            found.append((name, f"Text {self._serial} about {self.random.randrange(1000)}."))
        return found

    def once(
        self, job: dict[str, Any], old: Texts | None, new: Texts, how: str, disk: str = ""
    ) -> None:
        """Breaks one change off, looks at what is there, and makes it again.

        Args:
            job: As in `change`.
            old: Documents before it; None: there was no index.
            new: Documents after it.
            how: "kill", "encoder", "disk full", "file limit" or "small disk".
            disk: Name of another row of the table.
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
        self.rows[how + disk, kind, stage.split(":")[0], found] += 1

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
        calls = PROCESSES.Value("i", 0)
        began = time.perf_counter()
        stage, code = self._run(job, {"delay": DELAY, "count": calls})
        if code:
            raise SystemExit(f"{job['change']}, undisturbed, ended with {code}: {stage}")
        self._seconds[job["change"]] = time.perf_counter() - began
        self._calls[job["change"]] = calls.value

    def _run(self, job: dict[str, Any], fate: dict[str, Any]) -> tuple[str, int]:
        stage = PROCESSES.Array("c", 64, lock=False)
        stage.value = b"starting"
        child = PROCESSES.Process(target=work, args=(job, stage, fate))
        child.start()
        child.join(fate.get("kill", 120))
        if "kill" in fate:
            child.kill()
        elif child.is_alive():
            child.kill()
            self.losses.append(f"{job['change']} {fate} did not end")
        child.join()
        return stage.value.decode(), child.exitcode or 0


def builds(trial: Trial, how: str, times: int) -> None:
    """Breaks builds off, each of a new index."""
    for number in range(times + (how == "kill")):
        documents = trial.documents(COUNT)
        path = trial.folder / f"build{how}{number}" / "i"
        job = {"change": "build", "path": path, "documents": documents}
        job["index"] = KINDS[number % len(KINDS)]
        if how == "kill" and number == 0:
            trial.measure(job)
        elif how == "small disk":
            size = 4096 * trial.random.randint(4, 50)
            with small_disk(path.parent, size) as mounted:
                if not mounted:
                    return
                stage, code = trial._run(job, {})
                if code not in (0, 3) or (code == 3 and path.exists()):
                    trial.losses.append(f"small disk, {stage}: {code}")
                found = "after" if code == 0 else "before"
                if code == 0:
                    try:
                        trial._look(path, None, dict(documents))
                    except Exception as error:
                        found = "LOST"
                        trial.losses.append(f"small disk of {size}: {error!r}")
                trial.rows[how, "build", stage, found] += 1
        else:
            trial.once(job, None, dict(documents), how)
        shutil.rmtree(path.parent, ignore_errors=True)


def life(trial: Trial, kind: str, how: str, times: int) -> None:
    """Breaks changes of one kind off, in the life of one index."""
    path = trial.folder / f"{kind} {how}" / "i"
    other = path.with_name("other")
    texts = dict(trial.documents(COUNT))
    start = {"change": "build", "path": path, "documents": list(texts.items())}
    start["index"] = trial.random.choice(KINDS)
    change(start, SlowEncoder())
    for number in range(times + (how == "kill")):
        names = list(texts)
        trial.random.shuffle(names)
        job: dict[str, Any] = {"change": kind, "path": path, "index": start["index"]}
        new = dict(texts)
        if kind == "add":
            job["documents"] = trial.documents(COUNT)
            new |= dict(job["documents"])
        elif kind == "update":
            job["documents"] = trial.documents(COUNT // 2, names) + trial.documents(COUNT // 2)
            new |= dict(job["documents"])
        elif kind == "delete":
            job["ids"] = names[: COUNT // 4]
            new = {name: text for name, text in texts.items() if name not in job["ids"]}
        elif kind == "merge":
            added = trial.documents(4)
            shutil.rmtree(other, ignore_errors=True)
            made = {"change": "build", "path": other, "documents": added, "index": "Flat"}
            change(made, SlowEncoder())
            source = path.with_name("source")
            shutil.rmtree(source, ignore_errors=True)
            shutil.copytree(path, source)
            job["paths"] = [source, other]
            new |= dict(added)
        elif kind == "restore":
            retrieval_index.snapshot(path, f"n{number}")
            job["name"] = f"n{number}"
            retrieval_index.delete(path, names[:3])
            texts = {name: text for name, text in texts.items() if name not in names[:3]}
        if kind == "compact":
            more = trial.documents(3)
            retrieval_index.add(path, more, SlowEncoder())
            retrieval_index.delete(path, names[:3])
            texts = {n: t for n, t in texts.items() if n not in names[:3]} | dict(more)
            new = dict(texts)
        if how == "kill" and number == 0:
            trial.measure(job)
        else:
            trial.once(job, texts, new, how)
        texts = new
        if kind == "restore":
            retrieval_index.drop_snapshot(path, f"n{number}")
        if len(texts) > 6 * COUNT or len(texts) < 2 * COUNT // 3:
            shutil.rmtree(path)
            texts = dict(trial.documents(COUNT))
            start["index"] = trial.random.choice(KINDS)
            change({**start, "documents": list(texts.items())}, SlowEncoder())


def main(argv: Sequence[str] | None = None) -> int:
    """Runs all trials and prints the tables; returns the number of losses."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    made.add_argument("--kills", type=int, default=100, help="of builds, and of additions")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    options = made.parse_args(argv)
    warnings.simplefilter("ignore")
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        trial = Trial(Path(folder), options.seed)
        for how, times in (
            ("kill", options.kills),
            ("encoder", options.kills // 5),
            ("disk full", options.kills // 4),
            ("file limit", options.kills // 4),
        ):
            builds(trial, how, times)
            life(trial, "add", how, times)
            for kind in ("update", "delete", "compact", "merge", "restore"):
                if how != "encoder" or kind == "update":
                    life(trial, kind, how, times // 2)
        builds(trial, "small disk", options.kills // 5)
    show(trial, time.perf_counter() - began)
    return len(trial.losses)


def show(trial: Trial, seconds: float) -> None:
    """Prints what happened."""
    console = Console(width=100)
    outcomes = ("before", "after", "LOST")
    table = Table("broken off by", "change", "stage", "times", *outcomes, title="Durability")
    groups = {key[:3] for key in trial.rows}
    for how, kind, stage in sorted(groups):
        counts = [trial.rows[how, kind, stage, outcome] for outcome in outcomes]
        table.add_row(how, kind, stage, str(sum(counts)), *map(str, counts))
    console.print(table)
    totals = Table("broken off by", "change", "times", "lost, doubled or unreadable")
    for how, kind in sorted({key[:2] for key in trial.rows}):
        rows = {key: n for key, n in trial.rows.items() if key[:2] == (how, kind)}
        lost = sum(n for key, n in rows.items() if key[3] == "LOST")
        totals.add_row(how, kind, str(sum(rows.values())), str(lost))
    console.print(totals)
    for loss in trial.losses[:40]:
        console.print(loss, markup=False)
    console.print(
        f"{sum(trial.rows.values())} changes broken off, {len(trial.losses)} losses; "
        f"{trial.reused} durable shards taken up again; {seconds:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
