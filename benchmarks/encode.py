"""Sentence vectors: kzoo's `minilm-encoder` next to sentence-transformers, the same weights.

    python benchmarks/encode.py

Docstrings of the standard library, up to 256 tokens, the same batch size and number of threads, in
processes of their own that take turns. Each process encodes twice: cold counts what kzoo traces
and compiles at its first call, warm does not.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from _compare import (
    THREADS,
    Result,
    interleave,
    machine,
    medians,
    ratio,
    run_worker,
    table,
    write_json,
)
from rich.console import Console

ROWS = [
    ("warm", "texts a second, warm"),
    ("cold", "texts a second, first call"),
    ("cpu_warm", "CPU seconds, warm"),
    ("cpu_cold", "CPU seconds, first call"),
]
PEER = "sentence-transformers"


def main(argv: Sequence[str] | None = None) -> Result:
    """Runs the benchmark and prints its table; returns everything measured."""
    options = parser().parse_args(argv)
    console = Console(width=110)
    facts = machine("tensorflow", "keras", "torch", "transformers", PEER)
    scripts = {"kzoo": "_encode_kzoo.py"}
    if not options.skip_peer and importlib.util.find_spec("sentence_transformers") is None:
        console.print(f"No peer: {PEER} is not installed. Run: make bench")
    elif not options.skip_peer:
        scripts[PEER] = "_encode_peer.py"
    with tempfile.TemporaryDirectory() as folder:
        files = {name: str(Path(folder) / f"{name}.npy") for name in scripts}
        request = {"texts": options.texts, "batch_size": options.batch_size}

        def run(name: str) -> Result:
            asked = {**request, "vectors": files[name]}
            return run_worker(scripts[name], asked, options.threads)

        results = interleave(
            {name: partial(run, name) for name in scripts},
            options.repeats,
            lambda text: console.print(f"[dim]{text}"),
        )
        vectors = {name: np.load(file) for name, file in files.items()}
    columns = {
        name: medians(several, [key for key, _ in ROWS]) for name, several in results.items()
    }
    found: Result = {"options": vars(options), "machine": facts, "medians": columns}
    title = (
        f"{len(vectors['kzoo'])} texts, batches of {options.batch_size}, medians of "
        f"{options.repeats} runs, {facts['cores']} cores, load {facts['load_before']} at the start"
    )
    compared = ("kzoo", PEER) if PEER in columns else None
    console.print(table(title, ROWS, columns, compared))
    if compared:
        found["difference"] = float(np.abs(vectors["kzoo"] - vectors[PEER]).max())
        found["ratio"] = ratio(columns["kzoo"]["warm"], columns[PEER]["warm"])
        console.print(
            f"kzoo / {PEER}: {found['ratio']:.2f} in texts a second (above 1: kzoo is faster); "
            f"largest difference of a number {found['difference']:.1e}"
        )
    write_json(options.json, {**found, "runs": results})
    return found


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = made.add_argument
    add("--texts", type=int, default=2000)
    add("--batch-size", type=int, default=32)
    add("--repeats", type=int, default=3)
    add("--threads", type=int, default=THREADS)
    add("--skip-peer", action="store_true")
    add("--json", metavar="OUT", help="write everything measured")
    return made


if __name__ == "__main__":
    main()
