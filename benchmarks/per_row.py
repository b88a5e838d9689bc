"""An adapter of its own for every row of a batch: kzoo's gather next to loops over adapters.

    python benchmarks/per_row.py

MiniLM, LoRA r 8 on query and value, one batch of rows dealt out to 1, 8 or 64 adapters; the time
of one forward pass. Sides: kzoo's `PerRow`; in kzoo too, a loop over the adapters that runs each
one's rows through the whole model; and HF PEFT's `adapter_names`, which loops over the adapters in
every layer. Each side runs in processes of its own that take turns.
"""

from __future__ import annotations

import argparse
import importlib.util
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


def main(argv: Sequence[str] | None = None) -> Result:
    """Runs the benchmark and prints its table; returns everything measured."""
    options = parser().parse_args(argv)
    console = Console(width=110)
    facts = machine("tensorflow", "keras", "torch", "transformers", "peft")
    sides = {"kzoo": ("_per_row_kzoo.py", "gather"), "loop": ("_per_row_kzoo.py", "loop")}
    if importlib.util.find_spec("peft") is None or options.skip_peer:
        console.print("No peer: HF PEFT is not installed (make bench), or --skip-peer was given.")
    else:
        sides["PEFT"] = ("_per_row_peft.py", "loop")
    request = {key: getattr(options, key) for key in ("adapters", "rows", "tokens", "calls")}
    results = interleave(
        {
            name: partial(run_worker, script, {**request, "kind": kind}, options.threads)
            for name, (script, kind) in sides.items()
        },
        options.repeats,
        lambda text: console.print(f"[dim]{text}"),
    )
    keys = [str(number) for number in options.adapters]
    columns = {name: medians(several, keys) for name, several in results.items()}
    rows = [(key, f"{key} adapters, ms a batch") for key in keys]
    title = (
        f"{options.rows} rows of {options.tokens} tokens, medians of {options.repeats} rounds, "
        f"{facts['cores']} cores, load {facts['load_before']} at the start"
    )
    peer = "PEFT" if "PEFT" in columns else "loop"
    console.print(table(title, rows, columns, ("kzoo", peer)))
    found: Result = {"options": vars(options), "machine": facts, "medians": columns}
    found["ratios"] = {
        f"{other} {key}": ratio(columns["kzoo"][key], columns[other][key])
        for other in columns
        if other != "kzoo"
        for key in keys
    }
    for pair, value in found["ratios"].items():
        console.print(f"kzoo / {pair} adapters: {value:.2f} (below 1: kzoo is faster)")
    write_json(options.json, {**found, "runs": results})
    return found


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = made.add_argument
    add("--adapters", type=int, nargs="+", default=[1, 8, 64])
    add("--rows", type=int, default=64)
    add("--tokens", type=int, default=32)
    add("--calls", type=int, default=10, help="timed forward passes a process; the median counts")
    add("--repeats", type=int, default=3)
    add("--threads", type=int, default=THREADS)
    add("--skip-peer", action="store_true")
    add("--json", metavar="OUT", help="write everything measured")
    return made


if __name__ == "__main__":
    main()
