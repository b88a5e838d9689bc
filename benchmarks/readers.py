"""Readers under a writer: every answer must be of exactly one version.

    python benchmarks/readers.py [--searches 10000] [--commits 50] [--readers 2] [--seed 0]

A writer replaces all documents again and again: `update` with new texts, `delete` of all and `add`
of new ones being two commits of their own, `compact`, and a `restore` of a snapshot. Every document
carries the number of its round, and "count" documents exist, or none between a deletion and an
addition. Reader processes of two threads search all that time, one half with an index they keep for
a while, the other half opening it anew for each search, by vectors, words, both, and with a filter.

An answer is consistent if all its documents are of one round and every document of that round is
there exactly once with its own text; an index that is kept must answer from the same round as long
as it is open, also when its files are gone from the folder. The exit status is 1 otherwise, or if
anything was raised.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _durability_work import SlowEncoder
from rich.console import Console
from rich.table import Table

import retrieval_index
from retrieval_index import Document

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["_durability_preload"])
COUNT = 24
KEPT = 40  # searches with one index before it is opened anew
COUNTING = threading.Lock()
MODES: tuple[dict[str, Any], ...] = (
    {"mode": "dense"},
    {"mode": "lexical"},
    {"mode": "hybrid"},
    {"mode": "dense", "where": {"half": 1}},
    {"mode": "lexical", "per_document": 1},
)


def documents(number: int) -> list[Document]:
    """Returns the documents of a round."""
    return [
        Document(f"d{i}", text(number, i), "", {"round": number, "half": i % 2})
        for i in range(COUNT)
    ]


def text(number: int, place: int) -> str:
    """Returns the text of a document in a round."""
    return f"Round {number} holds document {place} of all."


def write(path: Path, commits: int, made: Any, stopped: Any, seed: int) -> None:
    """Makes commits until there were enough, and then until `stopped` says so."""
    rng = random.Random(seed)
    settings = {"shard_size": 8, "progress": False}
    number = 0
    while made.value < commits or not stopped.value:
        number += 1
        what = rng.random()
        if what < 0.6:
            retrieval_index.update(path, documents(number), SlowEncoder(), **settings)
            made.value += 1
        elif what < 0.75:
            retrieval_index.delete(path, [f"d{i}" for i in range(COUNT)])
            made.value += 1
            retrieval_index.add(path, documents(number), SlowEncoder(), **settings)
            made.value += 1
        elif what < 0.9:
            # A few documents replaced by themselves, so that there is something to compact.
            again = [Document(d.id, d.text, d.title, {**d.metadata, "again": number})
                     for d in retrieval_index.open(path).documents()][:3]  # fmt: skip
            retrieval_index.update(path, again, SlowEncoder(), **settings)
            made.value += 1
            retrieval_index.compact(path, progress=False)
            made.value += 1
        else:
            retrieval_index.snapshot(path, f"n{number}")
            retrieval_index.update(path, documents(number), SlowEncoder(), **settings)
            made.value += 1
            retrieval_index.restore(path, f"n{number}")
            made.value += 1
            retrieval_index.drop_snapshot(path, f"n{number}")


def read(path: Path, searches: int, seed: int, found: Any) -> None:
    """Searches in two threads; puts counts and what was wrong into a queue."""
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    versions: set[int] = set()

    def keep() -> None:
        number = 0
        while number < searches // 2:
            with retrieval_index.open(path, SlowEncoder()) as index:
                first: set[int] | None = None
                versions.add(index.version)
                for _ in range(min(KEPT, searches // 2 - number)):
                    rounds = look(index, number + seed, counts, wrong)
                    if first is not None and rounds != first:
                        wrong.append(f"an open index changed from {first} to {rounds}")
                    first = rounds
                    number += 1
                    counts["searches, index kept"] += 1
                listed = {d.metadata["round"] for d in index.documents()}
                if listed != first:
                    wrong.append(f"an open index lists {listed} and answers {first}")

    def reopen() -> None:
        for number in range(searches - searches // 2):
            with retrieval_index.open(path, SlowEncoder(), checksums=number % 2 == 0) as index:
                versions.add(index.version)
                look(index, number + seed, counts, wrong)
                counts["searches, opened anew"] += 1

    def guarded(work: Any) -> None:
        try:
            work()
        except BaseException as error:
            wrong.append(f"{work.__name__}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=guarded, args=(work,)) for work in (keep, reopen)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.put((counts, wrong[:20], versions))


def look(index: Any, number: int, counts: Counter[str], wrong: list[str]) -> set[int]:
    """Returns the rounds of one answer; `wrong` gets what cannot be."""
    settings = MODES[number % len(MODES)]
    hits = index.search(f"round holds document {number % 50} of all", k=500, **settings)
    rounds = {hit.metadata["round"] for hit in hits}
    with COUNTING:
        counts["answers without a document" if not hits else "answers with documents"] += 1
    if not hits:
        if len(index):
            wrong.append(f"nothing was found among {len(index)}, {settings}")
        return rounds
    ids = Counter(hit.document_id for hit in hits)
    step = 2 if "where" in settings else 1
    wanted = {f"d{i}": text(min(rounds), i) for i in range(step - 1, COUNT, step)}
    if len(rounds) > 1:
        wrong.append(f"version {index.version}: rounds {sorted(rounds)} in one answer")
    elif set(ids) != set(wanted) or max(ids.values()) > 1:
        wrong.append(f"version {index.version}: {len(ids)} of {len(wanted)} documents, {settings}")
    elif any(hit.text != wanted[hit.document_id] for hit in hits):
        wrong.append(f"version {index.version}: another text")
    return rounds


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the readers and the writer; returns how many answers were wrong."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    made.add_argument("--searches", type=int, default=10_000, help="of all readers")
    made.add_argument("--commits", type=int, default=50, help="at least, while they search")
    made.add_argument("--readers", type=int, default=2, help="processes of two threads")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    options = made.parse_args(argv)
    began = time.perf_counter()
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    versions: set[int] = set()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder, "i")
        retrieval_index.build(documents(0), path, SlowEncoder(), shard_size=8).close()
        commits, stopped = (PROCESSES.Value("i", 0, lock=False) for _ in range(2))
        found = PROCESSES.Queue()
        arguments = (path, options.commits, commits, stopped, options.seed)
        writer = PROCESSES.Process(target=write, args=arguments)
        writer.start()
        share = -(-options.searches // options.readers)
        readers = [
            PROCESSES.Process(target=read, args=(path, share, number, found))
            for number in range(options.readers)
        ]
        for reader in readers:
            reader.start()
        for _ in readers:
            more, bad, seen = found.get()
            counts += more
            wrong += bad
            versions |= seen
        during = commits.value
        stopped.value = 1
        writer.join()
        if writer.exitcode:
            wrong.append(f"the writer ended with {writer.exitcode}")
        retrieval_index.verify(path)
    table = Table("", "", title="Readers under a writer")
    for name, count in sorted(counts.items()):
        table.add_row(name, f"{count:,}")
    table.add_row("commits while they searched", f"{during:,}")
    table.add_row("versions that were opened", f"{len(versions):,}")
    table.add_row("wrong answers and errors", f"{len(wrong):,}")
    console = Console(width=100)
    console.print(table)
    for line in wrong[:20]:
        console.print(line, markup=False)
    if during < options.commits:
        console.print(f"only {during} commits while the readers searched: raise --searches")
        wrong.append("too few commits")
    console.print(f"{time.perf_counter() - began:.0f} s")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
