"""How an index grows: time, memory, size, recall and speed at 10,000 to 1,000,000 vectors.

    python benchmarks/index_scale.py

Synthetic vectors of unit length in clusters, tiny documents, `retrieval_index.build` with vectors
that exist already; next to hand-written FAISS with the same factory string, training sample and
parameters, and next to hnswlib. Recall@10 is that of 1,000 other queries against exact search.
Every side runs in a process of its own, whose memory is watched. "reader" builds an index of
documents of 40 words whose vectors are a single number: what reading, storing and BM25 take.

What has run is kept in `--work` and not run again (`--fresh`: all of it is). A million vectors
need 8 GB there and 8 GB of memory; index files are removed as soon as they are measured.
"""

from __future__ import annotations

import argparse
import math
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from _compare import THREADS, Result, machine, write_json
from _scale_runs import Runs
from _scale_tables import growth_table, reader_table, size_table, stage_table
from rich.console import Console

PEERS = ("faiss", "hnswlib")
KINDS = ("auto", "HNSW32,SQ8", "IVF{K},SQ8", "IVF{K},PQ{M}x4fs")
RECALL = 0.95


def main(argv: Sequence[str] | None = None) -> Result:
    """Runs the benchmark and prints its tables; returns everything measured."""
    options = parser().parse_args(argv)
    console = Console(width=130)
    folder = Path(options.work)
    if options.fresh:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    fixed = {
        "dimension": options.dimension,
        "queries": options.queries,
        "seed": 0,
        "threads": options.threads,
        "reproducible": not options.all_threads,
        "recall": RECALL,
    }
    runs = Runs(folder, fixed, console)
    found: Result = {"options": vars(options), "machine": machine("faiss-cpu", "hnswlib", "numpy")}
    if not options.skip_reader:
        found["reader"] = [reader(runs, size) for size in options.sizes]
        console.print(reader_table(found["reader"]))
    found["rows"] = []
    for size in options.sizes:
        if (options.kinds or options.peers) and not runs.truth(size).exists():
            runs.run("truth", runs.truth(size), again=True, size=size)
        for kind in options.kinds:
            found["rows"] += measure(runs, size, kind, options.peers)
        if "hnswlib" in options.peers:
            path = folder / "hnswlib.bin"
            row = runs.run("hnswlib", path, size=size)
            path.unlink(missing_ok=True)
            found["rows"].append({"side": "hnswlib", "size": size, "kind": "hnswlib",
                                  "factory": "M 32, ef_construction 40", **row})  # fmt: skip
        if rows := [row for row in found["rows"] if row["size"] == size]:
            console.print(size_table(size, rows))
    if rows := [row for row in found["rows"] if row["side"] == "kzoo"]:
        console.print(stage_table(rows))
    found["exponents"] = exponents(found["rows"])
    if found["exponents"]:
        console.print(growth_table(found["rows"], found["exponents"]))
    write_json(options.json, found)
    return found


def measure(runs: Runs, size: int, kind: str, peers: Iterable[str]) -> list[Result]:
    """Returns the rows of one kind of index at one size: kzoo's, and hand-written FAISS's."""
    path = runs.folder / "index"
    ask: Result = {"size": size, "factory": spelled(kind, size, runs.fixed["dimension"])}
    shutil.rmtree(path, ignore_errors=True)
    try:
        built = runs.run("kzoo build", path, again=not runs.has("kzoo search", **ask), **ask)
        searched = runs.run("kzoo search", path, **ask)
    finally:
        shutil.rmtree(path, ignore_errors=True)
    both = {"size": size, "kind": kind, "factory": built["factory"]}
    search_memory = {"search_peak_resident": searched["peak_resident"],
                     "search_peak_anonymous": searched["peak_anonymous"]}  # fmt: skip
    rows = [{**both, "side": "kzoo", **searched, **search_memory, **built}]
    if "faiss" in peers:
        other = runs.folder / "faiss"
        shutil.rmtree(other, ignore_errors=True)
        other.mkdir()
        ask = {**ask, "factory": built["factory"], "parameters": built["parameters"]}
        ask["sample"] = training_sample(built["factory"], size, runs.fixed["dimension"])
        try:
            row = runs.run("faiss", other / "index.faiss", **ask)
        finally:
            shutil.rmtree(other, ignore_errors=True)
        rows.append({**both, "side": "FAISS", "parameters": built["parameters"], **row})
    return rows


def reader(runs: Runs, size: int) -> Result:
    """Returns what everything but vectors takes, with and without BM25."""
    found: Result = {"size": size}
    path = runs.folder / "reader"
    for language in (None, "en"):
        shutil.rmtree(path, ignore_errors=True)
        answer = runs.run("reader", path, size=size, language=language)
        shutil.rmtree(path, ignore_errors=True)
        found["with BM25" if language else "without BM25"] = answer
    return found


def spelled(kind: str, size: int, dimension: int) -> str | None:
    """The factory string of a kind at a size; None: the package chooses."""
    from retrieval_index.vectors.choice import _spell

    return None if kind == "auto" else _spell(kind, size, dimension)


def training_sample(factory: str, size: int, dimension: int) -> int:
    """How many vectors the package trains such an index on."""
    from retrieval_index.vectors.choice import training_size
    from retrieval_index.vectors.family import parse_factory

    return max(1, training_size(parse_factory(factory, dimension), size))


def exponents(rows: Sequence[Result]) -> dict[str, dict[str, float]]:
    """Exponent of build seconds in the number of vectors, from each size to the next, by kind."""
    found: dict[str, dict[str, float]] = {}
    for kind in dict.fromkeys((row["side"], row["kind"]) for row in rows):
        several = sorted(
            (row["size"], row["seconds"]) for row in rows if (row["side"], row["kind"]) == kind
        )
        for (small, before), (large, after) in pairwise(several):
            name = f"{kind[0]} {kind[1]}" if kind[0] != kind[1] else kind[0]
            found.setdefault(name, {})[f"{small} to {large}"] = math.log(after / before) / math.log(
                large / small
            )
    return found


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = made.add_argument
    add("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    add("--kinds", nargs="*", default=list(KINDS), metavar="FACTORY",
        help="'auto', or a FAISS factory string; {K} and {M} are filled in")  # fmt: skip
    add("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    add("--dimension", type=int, default=384)
    add("--queries", type=int, default=1000)
    add("--threads", type=int, default=THREADS)
    add(
        "--all-threads", action="store_true", help="grow graphs by all threads (reproducible=False)"
    )
    add("--skip-reader", action="store_true")
    add("--work", default=str(Path(tempfile.gettempdir()) / "kzoo-index-scale"), metavar="DIR")
    add("--fresh", action="store_true", help="run again what has run")
    add("--json", metavar="OUT", help="write everything measured")
    return made


if __name__ == "__main__":
    main()
