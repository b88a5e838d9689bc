"""Completions: kzoo's `llama-lora` next to HF transformers, the same folder of weights.

    python benchmarks/generate.py FOLDER

FOLDER is an HF folder of a Llama model, float32 (such as SmolLM2-135M). Greedy, equal prompts in
a batch, the same number of threads, in processes of their own that take turns. A call for one token
is the prefill; a call for more, less that, is decoding. The first call counts what kzoo traces.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

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
    ("load", "seconds to load"),
    ("first", "seconds, first call for 1 token"),
    ("prefill", "seconds, prefill"),
    ("prefill_cpu", "CPU seconds, prefill"),
    ("decode", "seconds, decoding"),
    ("decode_cpu", "CPU seconds, decoding"),
]
PEER = "transformers"
SCRIPTS = {"kzoo": "_generate_kzoo.py", PEER: "_generate_peer.py"}


def main(argv: Sequence[str] | None = None) -> Result:
    """Runs the benchmark and prints a table a batch size; returns everything measured."""
    options = parser().parse_args(argv)
    console = Console(width=110)
    facts = machine("tensorflow", "keras", "keras-hub", "torch", PEER)
    found: Result = {"options": vars(options), "machine": facts, "batches": {}}
    for size in options.batch_sizes:
        request = {
            "weights": options.weights,
            "prompt": " ".join([options.text] * options.times),
            "batch_size": size,
            "new_tokens": options.new_tokens,
            "max_tokens": options.max_tokens,
        }
        results = interleave(
            {
                name: partial(run_worker, script, request, options.threads)
                for name, script in SCRIPTS.items()
            },
            options.repeats,
            lambda text: console.print(f"[dim]{text}"),
        )
        columns = {name: medians(own, [key for key, _ in ROWS]) for name, own in results.items()}
        title = (
            f"batch of {size}, {options.new_tokens} new tokens, medians of {options.repeats} runs, "
            f"{facts['cores']} cores, load {facts['load_before']} at the start"
        )
        console.print(table(title, ROWS, columns, ("kzoo", PEER)))
        speed = {key: ratio(columns[PEER][key], columns["kzoo"][key]) for key, _ in ROWS}
        same = results["kzoo"][0]["text"] == results[PEER][0]["text"]
        console.print(f"times as fast as {PEER}: {speed}; equal texts: {same}")
        found["batches"][size] = {
            "medians": columns,
            "speed": speed,
            "equal": same,
            "runs": results,
        }
    write_json(options.json, found)
    return found


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", help="HF folder of a Llama model")
    parser.add_argument("--text", default="The capital of France is a city that", help="prompt")
    parser.add_argument("--times", type=int, default=8, help="how often the text stands in it")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--new-tokens", type=int, default=65)
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--json", metavar="OUT", help="write everything measured")
    return parser


if __name__ == "__main__":
    main()
