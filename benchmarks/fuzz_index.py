"""Damaged indexes: only named errors may come out, whatever lies behind the checksums.

    python benchmarks/fuzz_index.py [--cases 20000] [--seed 0] [--only vectors:HNSW8] [--workers 2]

Small indexes of every kind (two segments, deletions, a snapshot, BM25) are damaged, one file at a
time, and then opened, searched in every way, listed, and verified. "Unsigned": as a disk or a
network damages files; must be refused, with the name of the file. "Signed": sizes and checksums are
made right again, as if it had been written so; may be refused, or go unnoticed where what was
changed is a legal value, but nothing else may happen.

Cases run in processes of their own, so that a crash of the interpreter, an endless loop (`--slow`
seconds) or an allocation beyond `--memory` GiB ends that process, is counted for the kind of file,
and the next case goes on. Case `n` of a kind and seed is always the same.

Outcomes: "refused" (a `RetrievalIndexError`), "clean" (all went well), "bad" (another exception, or
an unsigned damage that was not noticed), "crash", "slow". The exit status is 1 if there are any of
the last three, except crashes in signed FAISS files, which are counted and named: FAISS trusts its
files, and the guarantee of the package is one of checksums.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _durability_work import SlowEncoder
from _fuzz_samples import (
    FACTORIES,
    byte_defect,
    header_defect,
    json_defect,
    make,
    sql_defect,
)
from rich.console import Console
from rich.table import Table

import retrieval_index
from retrieval_index import RetrievalIndexError
from retrieval_index.storage.file_entry import FileEntry
from retrieval_index.storage.manifest import FORMAT, FORMAT_VERSION, _checksum

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["_durability_preload"])
OUTCOMES = ("refused", "clean", "bad", "crash", "slow")
QUERIES = ("bador0 kefim1", "logul2")
AHEAD = 20  # cases that wait for a process, so that it never waits
HEAD = ("format", "format_version", "checksum")


def kinds() -> list[str]:
    """Returns the names of all kinds of files, each with the index it is taken from."""
    plain = [
        "manifest:Flat", "manifest:IVF4,PQ4x4fs", "snapshot:Flat", "documents:Flat", "chunks:Flat",
        "deleted:Flat", "raw:SQ8", "lexical:Flat",
    ]  # fmt: skip
    return plain + [f"vectors:{factory}" for factory in FACTORIES]


def expanded() -> list[str]:
    """Returns a round of cases: each kind once, the commonest files more often."""
    more = ["manifest:Flat", "documents:Flat", "documents:Flat", "lexical:Flat", "lexical:Flat"]
    return [name for name in kinds() + more]


class Target:
    """One index and the file of it that is damaged.

    Args:
        kind: As in `kinds`.
        folder: Folder of the indexes, as `make` names them; this process alone uses it.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self.what, _, factory = kind.partition(":")
        self.path = folder / factory.replace(",", "_")
        self.manifest = self.path / "manifest.json"
        self.folder = folder
        body = json.loads(self.manifest.read_bytes())
        files = body["segments"][0]["files"]
        if self.what == "manifest":
            names = ["manifest.json"]
        elif self.what == "snapshot":
            names = ["snapshots/first.json"]
        elif self.what == "deleted":
            names = [body["segments"][0]["deleted"]["path"]]
        else:
            names = [entry["path"] for key, entry in files.items() if key.startswith(self.what)]
        self.files = [self.path / name for name in names]
        self.originals = {file: file.read_bytes() for file in [*self.files, self.manifest]}

    def damage(self, random_: random.Random, signed: bool) -> Path | None:
        """Damages a file; returns it, or None if nothing changed."""
        file = random_.choice(self.files)
        data = self.originals[file]
        others = [self.originals[random_.choice(self.files)]]
        defects = [byte_defect(others), header_defect]
        if file.suffix == ".json" and signed:
            defects = [json_defect] if self.what != "lexical" else [*defects, json_defect]
        elif self.what == "documents" and signed:
            defects.append(sql_defect(self.folder))
        changed = random_.choice(defects)(data, random_)
        if changed == data:
            return None
        if signed and self.what in ("manifest", "snapshot"):
            try:
                changed = _signed(json.loads(changed))
            except (TypeError, AttributeError, RecursionError):
                return None
        _replace(file, changed)
        if signed and self.what not in ("manifest", "snapshot"):
            self._sign(file)
        return file

    def restore(self) -> None:
        """Puts the files back."""
        for file, data in self.originals.items():
            _replace(file, data)

    def _sign(self, file: Path) -> None:
        name = file.relative_to(self.path).as_posix()
        fresh = FileEntry.of(file, name)
        body = json.loads(self.originals[self.manifest])
        for segment in body["segments"]:
            for entry in (*segment["files"].values(), segment["deleted"]):
                if entry is not None and entry["path"] == name:
                    entry.update(size=fresh.size, sha256=fresh.sha256)
                    if self.what == "deleted":
                        segment["deleted_documents"] = max(1, fresh.size // 4)
        _replace(self.manifest, _signed(body))


def _signed(body: Any) -> bytes:
    body = {key: value for key, value in body.items() if key not in HEAD}
    head = {"format": FORMAT, "format_version": FORMAT_VERSION, "checksum": _checksum(body)}
    return json.dumps({**head, **body}).encode()


def _replace(file: Path, data: bytes) -> None:
    # Never in place: an open index has the old file mapped.
    file.unlink(missing_ok=True)
    file.write_bytes(data)


def use(path: Path, snapshot: str | None) -> None:
    """Opens an index, searches it in every way, lists it, and verifies it."""
    encoder = SlowEncoder()
    # What verification says comes last, so that searches meet the damage first.
    with retrieval_index.open(path, encoder, snapshot=snapshot) as index:
        found = index.search_vectors(np.eye(16, dtype=np.float32)[:3], k=7)
        assert all(len(hits) <= 7 for hits in found)
        for mode in ("dense", "lexical", "hybrid"):
            index.search([*QUERIES], k=5, mode=mode)
        index.search(QUERIES[0], k=5, where={"half": 1})
        index.search(QUERIES[0], k=100, where={"n": {"$gte": 5}}, per_document=1)
        index.document("d7")
        list(index.documents())
        list(index.passages())
        index.info()
    retrieval_index.verify(path)


def case(kind: str, number: int, seed: int, target: Target) -> tuple[str, str]:
    """Runs one case; returns its outcome and a line about it."""
    random_ = random.Random(f"{seed} {kind} {number}")
    signed = number % 3 != 0
    file = None
    while file is None:
        file = target.damage(random_, signed)
    try:
        use(target.path, "first" if target.what == "snapshot" else None)
    except RetrievalIndexError as error:
        if not signed and file.name not in str(error):
            return "bad", f"{file.name} is not named: {error}"
        return "refused", str(error)
    except Exception as error:
        return "bad", f"{type(error).__name__}: {str(error)[:300]}"
    finally:
        target.restore()
    # A manifest may say the same in other white space, or write a number otherwise.
    if not signed and target.what not in ("manifest", "snapshot"):
        return "bad", f"damage of {file.name} was not noticed"
    return "clean", ""


def work(folder: Path, seed: int, cases: Any, results: Any, memory: float) -> None:
    """Runs cases (kind, number) until there are no more."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import faiss

    faiss.omp_set_num_threads(1)
    targets = {}
    limit = int((memory + 4) * 2**30)  # mapped libraries count too
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    while True:
        kind, number = cases.get()
        if kind is None:
            return
        if kind not in targets:
            targets[kind] = Target(kind, folder)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        outcome, detail = case(kind, number, seed, targets[kind])
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 2**20
        if grown > memory:
            outcome, detail = "bad", f"took {grown:.1f} GiB; {outcome}: {detail}"
        results.put((kind, number, outcome, detail))


class Worker:
    """A process that runs cases, and is replaced when one of them ends it.

    Args:
        pristine: Folder of the indexes.
        folder: Where it keeps its own copy of them.
        options: Of the command line.
    """

    def __init__(self, pristine: Path, folder: Path, options: argparse.Namespace) -> None:
        self.pristine, self.folder, self.options = pristine, folder, options
        self.waiting: deque[tuple[str, int]] = deque()
        self.start()

    def start(self) -> None:
        """Starts a process, with queues of its own: a killed one may leave a queue locked."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.pristine, self.folder)
        self.cases, self.results = PROCESSES.SimpleQueue(), PROCESSES.SimpleQueue()
        options = self.options
        arguments = (self.folder, options.seed, self.cases, self.results, options.memory)
        self.process = PROCESSES.Process(target=work, args=arguments, daemon=True)
        self.process.start()
        self.since = time.monotonic()
        for case in self.waiting:
            self.cases.put(case)

    def give(self, case: tuple[str, int]) -> None:
        """Adds a case to those that wait."""
        if not self.waiting:
            self.since = time.monotonic()
        self.waiting.append(case)
        self.cases.put(case)

    def found(self) -> Iterator[tuple[str, int, str, str]]:
        """Yields what has ended since: kind, number, outcome, detail."""
        ended = not self.process.is_alive()  # before the queue is emptied
        while not self.results.empty():
            yield self.results.get()
            self.waiting.popleft()
            self.since = time.monotonic()
        late = time.monotonic() - self.since > self.options.slow
        if self.waiting and (ended or late):
            if not ended:
                self.process.kill()
            self.process.join()
            code = self.process.exitcode or 0
            if code == 1:
                raise SystemExit("a process of this script failed; see above")
            name = signal.Signals(-code).name if code < 0 else f"exit {code}"
            yield (*self.waiting.popleft(), "crash" if ended else "slow", name)
            self.start()

    def stop(self) -> None:
        """Lets the process end."""
        self.cases.put((None, 0))
        self.process.join()


def run(options: argparse.Namespace, folder: Path) -> tuple[dict[str, Counter[str]], list[str]]:
    """Runs all cases; returns outcomes by kind of file, and lines about what is wrong."""
    pristine = folder / "pristine"
    pristine.mkdir()
    for factory in FACTORIES:
        if options.only is None or options.only.endswith(f":{factory}"):
            make(pristine, factory)
    names = [name for name in expanded() if options.only in (None, name)]
    numbers: Counter[str] = Counter()
    outcomes: dict[str, Counter[str]] = {}
    complaints: list[str] = []
    workers = [Worker(pristine, folder / f"{n}", options) for n in range(options.workers)]
    begun = ended = 0
    while ended < options.cases:
        for worker in workers:
            while len(worker.waiting) < AHEAD and begun < options.cases:
                kind = names[begun % len(names)]
                worker.give((kind, numbers[kind]))
                numbers[kind] += 1
                begun += 1
            for kind, number, outcome, detail in worker.found():
                ended += 1
                if ended % 1000 == 0:
                    seen = dict(sum(outcomes.values(), Counter()))
                    print(f"{ended:,} cases: {seen}", file=sys.stderr, flush=True)
                row = f"{kind}, {'signed' if number % 3 else 'unsigned'}"
                outcomes.setdefault(row, Counter())[outcome] += 1
                if outcome not in ("refused", "clean"):
                    complaints.append(f"{row}, case {number}: {outcome}: {detail}")
                    print(complaints[-1], file=sys.stderr, flush=True)
        time.sleep(0.02)
    for worker in workers:
        worker.stop()
    return outcomes, complaints


def main(argv: Sequence[str] | None = None) -> dict[str, Counter[str]]:
    """Runs the cases and prints the table; returns outcomes by kind of file."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    made.add_argument("--cases", type=int, default=20_000, help="over all kinds")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--only", choices=kinds(), help="one kind of file")
    made.add_argument("--workers", type=int, default=min(4, os.cpu_count() or 1))
    made.add_argument("--slow", type=float, default=60.0, help="seconds a case may take")
    made.add_argument("--memory", type=float, default=1.0, help="GiB a case may take")
    made.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    options = made.parse_args(argv)
    warnings.simplefilter("ignore")
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        outcomes, complaints = run(options, Path(folder))
    console = Console(width=100)
    table = Table("file", "cases", *OUTCOMES, title="Damaged indexes")
    for row in sorted(outcomes):
        counts = outcomes[row]
        table.add_row(row, str(counts.total()), *(str(counts[name]) for name in OUTCOMES))
    total = sum(outcomes.values(), Counter())
    table.add_row("all", str(total.total()), *(str(total[name]) for name in OUTCOMES))
    console.print(table)
    console.print(
        f"{total.total()} cases, seed {options.seed}, {time.perf_counter() - began:.0f} s"
    )
    for complaint in complaints[:60]:
        console.print(complaint, markup=False)
    if argv is None:
        sys.exit(1 if failed(outcomes) else 0)
    return outcomes


def failed(outcomes: dict[str, Counter[str]]) -> int:
    """Returns how many cases break what is promised."""
    count = 0
    for row, counts in outcomes.items():
        trusted = row.startswith("vectors:") and row.endswith(", signed")
        count += counts["bad"] + (0 if trusted else counts["crash"] + counts["slow"])
    return count


if __name__ == "__main__":
    main()
