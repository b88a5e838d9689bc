"""Kills, full disks and broken encoders: nothing of an index may be lost, doubled or unreadable.

    python benchmarks/durability.py [--kills 100] [--seed 0]

A process builds an index with a slow encoder and is killed (SIGKILL) at a random moment: half of
the times by the clock, half at a random call that changes the disk (fsync, rename, mkdir, unlink,
rmdir), before or after it. Then the build is started again. Another index lives on through adds,
updates, deletions, compactions, merges and restores, each of them killed like that. `--kills` is
the number of kills of the build, and again of additions; of each other change it is a half. A kill
that came too late, when the process had finished, is shown and does not count.

After each kill: the version on the disk is the one before or the one after the change, all of it;
`verify` passes; a search finds every document at its place; the change, made again, succeeds; every
document is there exactly once, and shards that were durable were not encoded again.

The same then with an encoder that raises, with a disk that is full from a random call on, with
files that may not grow (RLIMIT_FSIZE) and, as root, on a real file system of too few bytes.

The exit status is 1 if anything was lost, doubled, or could not be read.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _durability_trial import COUNT, Trial
from _durability_work import SlowEncoder, change, small_disk
from rich.console import Console
from rich.table import Table

import retrieval_index

KINDS = ("Flat", "HNSW8", "SQ8", "IVF2,SQ8")
HOWS = ("kill", "encoder", "disk full", "file limit", "small disk")
CHANGES = ("build", "add", "update", "delete", "compact", "merge", "restore")


def builds(trial: Trial, how: str, times: int) -> None:
    """Breaks builds off, each of a new index."""
    number, hits = -1, 0
    while hits < times:
        number += 1
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
                hits += 1
        else:
            broken = trial.once(job, None, dict(documents), how)
            hits += broken or how != "kill"
        shutil.rmtree(path.parent, ignore_errors=True)


def life(trial: Trial, kind: str, how: str, times: int) -> None:
    """Breaks changes of one kind off, in the life of one index."""
    path = trial.folder / f"{kind} {how}" / "i"
    other = path.with_name("other")
    texts = dict(trial.documents(COUNT))
    start = {"change": "build", "path": path, "documents": list(texts.items())}
    start["index"] = trial.random.choice(KINDS)
    change(start, SlowEncoder())
    number, hits = -1, 0
    while hits < times:
        number += 1
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
            broken = trial.once(job, texts, new, how)
            hits += broken or how != "kill"
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
    made.add_argument("--how", choices=HOWS, help="only what is broken off so")
    made.add_argument("--change", choices=CHANGES, help="only this change")
    made.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    options = made.parse_args(argv)
    warnings.simplefilter("ignore")
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        trial = Trial(Path(folder), options.seed)
        for how in (options.how,) if options.how else HOWS:
            share = {"kill": 1, "encoder": 5, "small disk": 5}.get(how, 4)
            for kind in (options.change,) if options.change else CHANGES:
                if how == "encoder" and kind not in ("build", "add", "update"):
                    continue
                times = options.kills // share
                if kind == "build":
                    builds(trial, how, times)
                elif how != "small disk":
                    life(trial, kind, how, times if kind == "add" else times // 2)
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
