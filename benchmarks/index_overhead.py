"""What an index costs besides encoding, and its search besides FAISS.

    python benchmarks/index_overhead.py --corpus FILE

Building: `retrieval_index.build` of 20,000 passages (reading, cutting, documents, BM25, shards,
FAISS, checksums) next to one loop that encodes the same passages by the same encoder in the same
batches; each in a process of its own, in turns. A third side builds with vectors that exist already
and tells where the time goes.

Searching: the same FAISS file through FAISS alone, through the vector part of the opened index, and
through `Index.search_vectors`, which also fetches the passages; in one process, in turns.

`FILE` is a corpus that `retrieval_index.build` reads, such as `scifact/corpus.jsonl`; its documents
are taken until there are enough passages. Default: docstrings of the standard library, which are
3,642 and so give fewer passages.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from _compare import (
    THREADS,
    Result,
    interleave,
    load_average,
    machine,
    medians,
    ratio,
    run_worker,
    shown,
    table,
    write_json,
)
from rich.console import Console
from rich.table import Table

GOAL_BUILD = 1.03
GOAL_SEARCH = 1.05
BUILD_ROWS = [("seconds", "seconds"), ("cpu_seconds", "CPU seconds"),
              ("inside_encoder", "seconds inside the encoder")]  # fmt: skip


def main(argv: Sequence[str] | None = None) -> Result:
    """Runs the benchmark and prints its tables; returns everything measured."""
    options = parser().parse_args(argv)
    console = Console(width=110)
    found: Result = {
        "options": vars(options),
        "machine": machine("faiss-cpu", "bm25s", "tensorflow"),
    }
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        request = prepared(options, Path(folder))
        if "build" in options.parts:
            found["build"] = compare_builds(options, request, console)
        if "search" in options.parts:
            found["search"] = compare_searches(options, request, console)
    write_json(options.json, found)
    return found


def compare_builds(options: argparse.Namespace, request: Result, console: Console) -> Result:
    """Prints and returns encoding, building and the stages of a replayed build."""

    def run(side: str) -> Result:
        return run_worker("_overhead_worker.py", {**request, "side": side}, options.threads)

    # The first round of "encode" leaves the vectors that "replay" needs.
    sides = ("encode", "build", "replay")
    results = interleave(
        {side: partial(run, side) for side in sides[:2]},
        options.repeats,
        lambda text: console.print(f"[dim]{text}, load {load_average()}"),
    )
    results["replay"] = [{**run("replay"), "load": load_average()} for _ in range(options.replays)]
    keys = [key for key, _ in BUILD_ROWS]
    columns = {side: medians(results[side], keys) for side in sides}
    ratios = {key: ratio(columns["build"][key], columns["encode"][key]) for key in keys[:2]}
    loads = [run["load"] for several in results.values() for run in several]
    passages = results["encode"][0]["passages"]
    title = (
        f"{passages} passages, {options.encoder}, medians of {options.repeats} runs, "
        f"load {min(loads)} to {max(loads)}"
    )
    console.print(table(title, BUILD_ROWS, columns, ("build", "encode")))
    console.print(
        f"build / encode: {shown(ratios['seconds'])} in seconds (goal {GOAL_BUILD}), "
        f"{shown(ratios['cpu_seconds'])} in CPU seconds; replay / encode: "
        f"{shown(ratio(columns['replay']['seconds'], columns['encode']['seconds']))}"
    )
    stages = medians_of_stages([run["stages"] for run in results["replay"]])
    made = Table(
        title="Replayed build: seconds by stage (reading to BM25 words run beside the encoder)",
        title_justify="left",
    )
    made.add_column("stage")
    made.add_column("s", justify="right")
    for stage, seconds in sorted(stages.items(), key=lambda item: -item[1]):
        made.add_row(stage, f"{seconds:.3f}")
    console.print(made)
    return {"runs": results, "medians": columns, "ratios": ratios, "stages": stages}


def compare_searches(options: argparse.Namespace, request: Result, console: Console) -> Result:
    """Prints and returns the milliseconds of each way to search, for each kind of index."""
    found: Result = {}
    made = Table(
        title=f"Search, k 10, {options.threads} threads, medians; load {load_average()} before",
        title_justify="left",
    )
    for column in ("index", "ms", "FAISS", "FAISS re-scored", "searcher", "search_vectors",
                   "searcher / FAISS", "search_vectors / FAISS"):  # fmt: skip
        made.add_column(column, justify="right" if column != "index" else "left")
    for factory in options.indexes:
        # With vectors that exist: built in seconds, and the same file as after encoding.
        path = str(Path(request["out"]).with_name("searched"))
        side = "replay" if Path(request["vectors"]).exists() else "encode"
        if side == "encode":
            run_worker("_overhead_worker.py", {**request, "side": "encode"}, options.threads)
        wanted = None if factory == "auto" else factory
        asked = {**request, "side": "replay", "out": path, "index": wanted, "language": None}
        run_worker("_overhead_worker.py", asked, options.threads)
        one = run_worker(
            "_raw_search.py",
            {"path": path, "queries": options.queries, "batch_size": 100, "rounds": options.rounds,
             "singles": options.queries},
            options.threads,
        )  # fmt: skip
        found[factory] = one
        for kind in ("batch", "single"):
            middle = {way: statistics.median(values) for way, values in one[kind].items()}
            one[f"{kind}_medians"] = middle
            label = f"{one['factory']} {settings(one['parameters'])}" if kind == "batch" else ""
            what = "batch of 100" if kind == "batch" else "one query, p50"
            ratios = [middle[way] / middle["faiss"] for way in ("searcher", "index")]
            four = (middle.get(way) for way in ("faiss", "refined", "searcher", "index"))
            cells = ["-" if value is None else f"{value:.3f}" for value in four]
            made.add_row(label, what, *cells, *(f"{value:.3f}" for value in ratios))
    console.print(made)
    console.print(f"goal: searcher / FAISS at most {GOAL_SEARCH} for batches of 100")
    return found


def settings(parameters: dict[str, Any]) -> str:
    """Search parameters in one line."""
    return ", ".join(f"{name} {value}" for name, value in parameters.items())


def medians_of_stages(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """Median of every stage over the runs."""
    return {stage: statistics.median(run.get(stage, 0.0) for run in runs) for stage in runs[0]}


def prepared(options: argparse.Namespace, folder: Path) -> Result:
    """Writes the documents that give enough passages, and returns what the workers are asked."""
    import retrieval_index
    from retrieval_index.chunking.chunker import Chunker

    encoder = retrieval_index.resolve_encoder(options.encoder)
    chunker = Chunker.for_encoder(encoder, options.chunk_size, None, "tokens")
    corpus = folder / "corpus.jsonl"
    count = 0
    with corpus.open("w", encoding="utf-8") as file:
        for document, chunks in chunker.split_many(documents(options.corpus)):
            record = {"_id": document.id, "title": document.title, "text": document.text}
            file.write(json.dumps(record) + "\n")
            count += len(chunks)
            if count >= options.passages:
                break
    return {
        "corpus": str(corpus),
        "out": str(folder / "index"),
        "vectors": str(folder / "vectors.npy"),
        "encoder": options.encoder,
        "chunk_size": options.chunk_size,
        "language": "en",
        "index": None,
        "batch_size": options.batch_size,
        "shard_size": options.shard_size,
    }


def documents(corpus: str | None) -> Iterator[Any]:
    """The documents of a corpus, or docstrings."""
    from retrieval_index import Document
    from retrieval_index.corpus.document import ProblemLog
    from retrieval_index.corpus.opening import open_corpus

    if corpus is not None:
        for entry in open_corpus(corpus).read(ProblemLog()):
            yield entry.document
        return
    from kzoo.datasets import load

    data = load("python-docs")
    texts = [text for split in data.splits.values() for text in split.texts]
    for number, text in enumerate(texts):
        yield Document(str(number), text)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = made.add_argument
    add("--corpus", metavar="FILE", help="default: docstrings of the standard library")
    add("--passages", type=int, default=20_000)
    add("--chunk-size", type=int, default=128, help="tokens of a passage at most")
    add("--encoder", default="kzoo:minilm-encoder")
    add("--batch-size", type=int, default=64)
    add("--shard-size", type=int, default=4096)
    add("--repeats", type=int, default=3, help="of encoding and building")
    add("--replays", type=int, default=3, help="of the build with vectors that exist")
    add("--indexes", nargs="+", default=["auto", "HNSW32", "IVF512,SQ8"], metavar="FACTORY")
    add("--queries", type=int, default=1000)
    add("--rounds", type=int, default=5, help="times that the batches of queries are searched for")
    add("--threads", type=int, default=THREADS)
    add("--parts", nargs="+", choices=("build", "search"), default=["build", "search"])
    add("--work", metavar="DIR", help="where files of some hundred megabytes go while it runs")
    add("--json", metavar="OUT", help="write everything measured")
    return made


if __name__ == "__main__":
    main()
