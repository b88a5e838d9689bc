"""XLA or not, over whole short runs of `fit`: decides what `jit_compile="auto"` means on a CPU.

    python benchmarks/jit.py --data DIR

Each run is a process of its own, the two settings take turns. With `--no-dropout` both settings
compute the same function, and their losses must agree to 1e-4; with dropout, whose random numbers
XLA draws otherwise, to about 1e-2.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

from _compare import THREADS, Result, interleave, machine, medians, run_worker, table, write_json
from _tasks import DATASETS, METHODS
from rich.console import Console

ROWS = [
    ("total", "whole training, s"),
    ("first_step", "first step with tracing and compiling, s"),
    ("first_epoch", "first epoch, s"),
    ("step", "each step of later epochs, s"),
    ("cpu_total", "whole training, CPU s"),
    ("cpu_step", "each step of later epochs, CPU s"),
    ("train_loss", "training loss, last epoch"),
    ("validation_accuracy", "validation accuracy, %"),
]


def main(argv: Sequence[str] | None = None) -> Result:
    """Runs the benchmark and prints a table for each method; returns everything measured."""
    options = parser().parse_args(argv)
    console = Console(width=110)
    facts = machine("tensorflow", "keras", "keras-hub")
    found: Result = {"options": vars(options), "machine": facts, "methods": {}}
    if options.data is None and options.dataset != "python-docs":
        parser().error(f"--data is needed for {options.dataset}")
    base = {
        **{key: getattr(options, key) for key in ("dataset", "epochs", "limit", "no_dropout")},
        "data": options.data or "",
        "variant": "small",
        "batch_size": 32,
        "learning_rate": 0,
        "max_tokens": options.max_tokens,
        "rank": 8,
        "alpha": 16,
        "seed": 0,
    }

    def run(method: str, jit: bool) -> Result:
        asked = {**base, "method": method, "jit": jit}
        answer = run_worker("_finetune_kzoo.py", asked, options.threads)
        for prefix in ("", "cpu_"):
            later = answer[f"{prefix}later_epochs"]
            steps = answer["steps"] / options.epochs
            answer[f"{prefix}step"] = None if later is None else later / steps
        return answer

    for method in options.methods:
        sides = {"XLA": partial(run, method, True), "no XLA": partial(run, method, False)}
        results = interleave(sides, options.repeats, lambda text: console.print(f"[dim]{text}"))
        columns = {name: medians(runs, [key for key, _ in ROWS]) for name, runs in results.items()}
        title = (
            f"{METHODS[method]} on {options.dataset}, {options.epochs} epochs"
            f"{', no dropout' * options.no_dropout}, medians of {options.repeats} runs, "
            f"{facts['cores']} cores, load {facts['load_before']} at the start"
        )
        console.print(table(title, ROWS, columns, ("XLA", "no XLA")))
        faster = min(columns, key=lambda name: columns[name]["total"] or 0.0)
        gap = abs((columns["XLA"]["train_loss"] or 0.0) - (columns["no XLA"]["train_loss"] or 0.0))
        agree = gap <= (1e-4 if options.no_dropout else 1e-2)
        console.print(
            f"Faster over the whole run on this machine: {faster}. The losses differ by {gap:.1e}"
            f"{'' if agree else ', more than they should'}."
        )
        found["methods"][method] = {
            "medians": columns,
            "faster": faster,
            "loss_gap": gap,
            "agree": agree,
            "runs": results,
        }
    write_json(options.json, found)
    return found


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = made.add_argument
    add("--methods", nargs="+", choices=list(METHODS), default=["lora", "adapter", "full"])
    add("--dataset", choices=DATASETS, default="python-docs")
    add("--data", metavar="DIR", help="folder that holds trec/, ...; not needed for python-docs")
    add("--limit", type=int, default=2000, help="at most so many rows of each split; 0: all")
    add("--epochs", type=int, default=2)
    add("--max-tokens", type=int, default=128)
    add("--no-dropout", action="store_true", help="all dropout off, so that losses must agree")
    add("--repeats", type=int, default=1)
    add("--threads", type=int, default=THREADS)
    add("--json", metavar="OUT", help="write everything measured")
    return made


if __name__ == "__main__":
    main()
