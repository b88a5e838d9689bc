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
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from _fuzz_samples import FACTORIES, make
from _fuzz_worker import Worker
from rich.console import Console
from rich.table import Table

OUTCOMES = ("refused", "clean", "bad", "crash", "slow")
AHEAD = 20  # cases that wait for a process, so that it never waits


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
