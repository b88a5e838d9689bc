"""Fine-tuning on real data: kzoo next to HF PEFT with transformers' `Trainer`.

    python benchmarks/finetune.py --dataset mrpc --method lora --data DIR

Both sides start from the same trunk weights and use the same head (mean pooling, dropout 0.1, one
dense layer), rank, alpha, targets, epochs, batch size, rate, warm-up and linear decay, Adam
settings, clipping, token limit and number of threads. Each run is its own process; the sides take
turns. PEFT has no bottleneck adapters, so that `adapter` and `houlsby` run without a peer.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from functools import partial
from typing import Any

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
from _tasks import BOTTLENECKS, DATASETS, METHODS
from rich.console import Console

ROWS = [
    ("test_accuracy", "test accuracy, %"),
    ("test_f1", "test F1, %"),
    ("validation_accuracy", "validation accuracy, %"),
    ("validation_f1", "validation F1, %"),
    ("train_loss", "training loss (kzoo: last epoch; Trainer: mean)"),
    ("first_epoch", "first epoch with tokenising and compiling, s"),
    ("later_epochs", "each later epoch, s"),
    ("total", "whole training, s"),
    ("cpu_later_epochs", "each later epoch, CPU s"),
    ("cpu_total", "whole training, CPU s"),
    ("trainable", "trainable parameters"),
]
PACKAGES = ("tensorflow", "keras", "keras-hub", "torch", "transformers", "peft")


def main(argv: Sequence[str] | None = None) -> Result:
    """Runs the benchmark and prints its table; returns everything measured."""
    options = parser().parse_args(argv)
    console = Console(width=110)
    facts = machine(*PACKAGES)
    request = vars(options) | {"trunk_dropout": options.peer_trunk_dropout}
    request["group_by_length"] = options.peer_group_by_length
    reason = no_peer(options)
    sides = {"kzoo": "_finetune_kzoo.py"}
    if reason is None:
        sides["Trainer" if options.method in ("full", "linear") else "PEFT"] = "_finetune_peer.py"
    else:
        console.print(f"No peer: {reason}")

    chosen: dict[str, tuple[float, Result]] = {}

    def run(script: str) -> Result:
        if options.rates and script not in chosen:  # by validation accuracy, with seed 0
            tried = {
                rate: run_worker(script, {**request, "learning_rate": rate, "seed": 0})
                for rate in options.rates
            }
            dev = {rate: found["validation_accuracy"] for rate, found in tried.items()}
            best = max(dev, key=dev.__getitem__)
            console.print(f"[dim]{script}: validation accuracy by rate {dev}")
            chosen[script] = best, tried[best]
        if options.rates:
            request["learning_rate"], first = chosen[script]
        # Several seeds in one round: scores need more runs than timings do.
        rest = range(1 if options.rates else 0, options.seeds)
        seeds = [first] if options.rates else []
        seeds += [run_worker(script, {**request, "seed": seed}) for seed in rest]
        console.print(f"[dim]{script}: test {[round(s['test_accuracy'], 2) for s in seeds]}")
        middle = medians(seeds, [key for key, _ in ROWS] + ["first_step", "learning_rate"])
        return {**middle, "seeds": seeds}

    results = interleave(
        {name: partial(run, script) for name, script in sides.items()},
        options.repeats,
        lambda text: console.print(f"[dim]{text}"),
    )
    columns = {
        name: medians(several, [key for key, _ in ROWS]) for name, several in results.items()
    }
    compared = tuple(sides) if len(sides) == 2 else None
    rate = results["kzoo"][0]["learning_rate"]
    title = (
        f"{options.dataset}{f' {options.variant}' * (options.dataset == 'clinc150')}, "
        f"{METHODS[options.method]}, learning rate {rate:g} (kzoo), medians of {options.repeats} x "
        f"{options.seeds} runs, {facts['cores']} cores, load {facts['load_before']} at the start"
    )
    console.print(table(title, ROWS, columns, compared))  # type: ignore[arg-type]
    found: Result = {"options": vars(options), "machine": facts, "medians": columns}
    if compared:
        key = "later_epochs" if columns["kzoo"]["later_epochs"] is not None else "first_epoch"
        found["ratio"] = ratio(columns["kzoo"][key], columns[compared[1]][key])
        found["ratio_total"] = ratio(columns["kzoo"]["total"], columns[compared[1]]["total"])
        console.print(
            f"kzoo / {compared[1]}: {found['ratio']:.2f} in seconds per epoch ({key}), "
            f"{found['ratio_total']:.2f} in the whole training (below 1: kzoo is faster)"
        )
    write_json(options.json, {**found, "runs": results})
    return found


def no_peer(options: argparse.Namespace) -> str | None:
    """Why only kzoo runs, or None where the peer does."""
    if options.skip_peer:
        return "--skip-peer was given."
    if options.method in BOTTLENECKS:
        return "HF PEFT has no bottleneck adapters (Pfeiffer, Houlsby)."
    for package in ("torch", "transformers", "accelerate", "peft"):
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed. Run: make bench"
    return None


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = made.add_argument
    add("--dataset", choices=DATASETS, required=True)
    add("--method", choices=list(METHODS), required=True)
    add("--data", required=True, metavar="DIR", help="folder that holds clinc150/, mrpc/, ...")
    add("--variant", choices=("small", "full"), default="small", help="of CLINC150")
    add("--epochs", type=int, default=0, help="default: the recipe's")
    add("--batch-size", type=int, default=0, help="default: the recipe's")
    add("--learning-rate", type=float, default=0.0, help="of both sides; default: the recipe's")
    add("--rates", type=float, nargs="+", help="each side takes the best one on validation")
    add("--rank", type=int, default=8, help="of LoRA")
    add("--alpha", type=float, default=16.0, help="of LoRA")
    add("--max-tokens", type=int, default=128)
    add("--seeds", type=int, default=1, help="seeds 0 ... n - 1; the median is shown")
    add("--repeats", type=int, default=1, help="rounds, the sides in turns")
    add("--limit", type=int, default=0, help="at most so many rows of each split; for trials")
    add("--jit", type=_jit, default="auto", metavar="true|false|auto", help="of kzoo")
    add("--threads", type=int, default=THREADS)
    add("--skip-peer", action="store_true")
    add(
        "--peer-group-by-length",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="batches of similar length for the peer, as kzoo makes them",
    )
    add(
        "--peer-trunk-dropout",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="keep dropout on in the peer's frozen trunk (PEFT's habit); kzoo has it off",
    )
    add("--json", metavar="OUT", help="write everything measured")
    return made


def _jit(text: str) -> Any:
    values: dict[str, Any] = {"true": True, "false": False, "auto": "auto"}
    if text not in values:
        raise argparse.ArgumentTypeError(f"must be true, false or auto. Received: {text}")
    return values[text]


if __name__ == "__main__":
    main()
