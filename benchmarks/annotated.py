"""Slots and answers: kzoo next to transformers' `Trainer` with HF PEFT, the same trunk and LoRA.

    python benchmarks/annotated.py slots --data DIR     (DIR/snips: train, valid, test)
    python benchmarks/annotated.py joint --data DIR     (the same; intents and slots in one model)
    python benchmarks/annotated.py answers --data DIR   (DIR/xquad/xquad.en.json, by paragraphs)

Both sides start from the same trunk weights and train the same windows of tokens with the same
labels, LoRA (rank 8 on query and value, 16 on all projections for answers), rate, batch size and
epochs; the trunk's dropout is off on both. The rate is each side's best of `--rates` on validation,
with seed 0. Each run is its own process, the sides take
turns. Seconds are those of the training; kzoo's hold its tokenising, the peer's do not.
Predictions of both are read off and scored by the same code: strict entity F1; SQuAD's EM and F1.
"""

from __future__ import annotations

import argparse
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
from rich.console import Console

SCORES = {
    "slots": ("entity_f1",),
    "joint": ("entity_f1", "intent"),  # in percent, both
    "answers": ("f1", "exact"),
}


def main(argv: Sequence[str] | None = None) -> Result:
    """Runs the benchmark and prints its table; returns everything measured."""
    options = parser().parse_args(argv)
    console = Console(width=110)
    facts = machine("tensorflow", "keras", "torch", "transformers", "peft")
    sides = {"kzoo": "_annotated_kzoo.py", "Trainer": "_annotated_peer.py"}
    if options.skip_peer:
        del sides["Trainer"]
    rows = [
        (f"{split}_{name}", f"{split} {name}")
        for split in ("validation", "test")
        for name in SCORES[options.task]
    ]
    rows += [("later_epochs", "each later epoch, s"), ("cpu_later_epochs", "..., CPU s")]
    rows += [("total", "whole training, s"), ("cpu_total", "..., CPU s")]

    def run(script: str) -> Result:
        request, deciding = vars(options), f"validation_{SCORES[options.task][0]}"
        tried = {
            rate: run_worker(script, {**request, "learning_rate": rate, "seed": 0})
            for rate in options.rates
        }
        best = max(tried, key=lambda rate: tried[rate][deciding])
        console.print(
            f"[dim]{script}: { {rate: found[deciding] for rate, found in tried.items()} }"
        )
        rest = range(1, options.seeds)
        more = [run_worker(script, {**request, "learning_rate": best, "seed": s}) for s in rest]
        return {
            **medians([tried[best], *more], [k for k, _ in rows]),
            "seeds": [tried[best], *more],
        }

    results = interleave(
        {name: partial(run, script) for name, script in sides.items()},
        options.repeats,
        lambda text: console.print(f"[dim]{text}"),
    )
    columns = {name: medians(found, [key for key, _ in rows]) for name, found in results.items()}
    compared = ("kzoo", "Trainer") if len(sides) == 2 else None
    title = (
        f"{options.task}, rates {options.rates}, {options.epochs} epochs, medians of "
        f"{options.repeats} x {options.seeds} runs, load {facts['load_before']} at the start"
    )
    console.print(table(title, rows, columns, compared))
    for name, found in results.items():
        for key in (key for key, _ in rows if key.startswith("test")):
            each = [round(seed[key], 2) for result in found for seed in result["seeds"]]
            console.print(f"{name}: {key} of each run {each}")
    measured: Result = {"options": vars(options), "machine": facts, "medians": columns}
    if compared:
        measured["ratio"] = ratio(columns["kzoo"]["total"], columns["Trainer"]["total"])
        console.print(f"kzoo / Trainer: {measured['ratio']:.2f} in seconds of the whole training")
    write_json(options.json, {**measured, "runs": results})
    return measured


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = made.add_argument
    add("task", choices=list(SCORES))
    add("--data", required=True, metavar="DIR", help="folder that holds snips/ and xquad/")
    add("--rates", type=float, nargs="+", default=[2e-3])
    add("--epochs", type=int, default=3)
    add("--batch-size", type=int, default=32)
    add("--crf", action="store_true", help="of kzoo's tagger; the peer has none")
    add("--seeds", type=int, default=1)
    add("--repeats", type=int, default=1)
    add("--take", type=int, default=0, help="train on so many rows; for trials")
    add("--threads", type=int, default=THREADS)
    add("--skip-peer", action="store_true")
    add("--json", metavar="OUT", help="write everything measured")
    return made


def load_rows(task: str, folder: Any, take: int) -> dict[str, tuple[Any, Any]]:
    """Rows and labels of train, validation and test."""
    from pathlib import Path

    import kzoo

    if task in ("slots", "joint"):
        found = kzoo.datasets.load(Path(folder) / "snips", task="tag")
        splits = {name: found[name] for name in ("train", "validation", "test")}
        rows = {name: (split.inputs, list(split.labels)) for name, split in splits.items()}
        if task == "joint":
            folders = {"train": "train", "validation": "valid", "test": "test"}
            for name, (texts, tags) in rows.items():
                path = Path(folder) / "snips" / folders[name] / "label"
                intents = [line.strip() for line in path.read_text("utf-8").splitlines()]
                rows[name] = ({"text": texts}, {"slots": tags, "intent": intents})
    else:
        split = kzoo.datasets.load(Path(folder) / "xquad" / "xquad.en.json", task="span")["train"]
        contexts = list(dict.fromkeys(split.text_pairs))
        part = {text: number * 5 // len(contexts) for number, text in enumerate(contexts)}
        rows = {name: ([], []) for name in ("train", "validation", "test")}
        for pair, answer in zip(split.inputs, split.labels, strict=True):
            name = {3: "validation", 4: "test"}.get(part[pair[1]], "train")
            rows[name][0].append(tuple(pair))
            rows[name][1].append(answer)
    if take:
        rows["train"] = tuple(  # type: ignore[assignment]
            {k: v[:take] for k, v in part.items()} if isinstance(part, dict) else part[:take]
            for part in rows["train"]
        )
    return rows


def make_model(request: dict[str, Any]) -> Any:
    """The model of a task."""
    import kzoo

    if request["task"] == "slots":
        more = {"crf": True} if request["crf"] else {}
        return kzoo.load("bert-tagger", max_tokens=64, seed=request["seed"], **more)
    if request["task"] == "answers":
        return kzoo.load("bert-qa", seed=request["seed"])
    trunk = kzoo.Trunk("minilm-l6", max_tokens=64, seed=request["seed"])
    trunk.adapters.add("joint", "lora[r=8,alpha=16]")
    text = kzoo.WordsInput(trunk, name="text")
    states = trunk(text)
    heads = [
        kzoo.heads.Classify(name="intent", seed=request["seed"]),
        kzoo.heads.Tag(name="slots", crf=request["crf"], seed=request["seed"]),
    ]
    return kzoo.Model(text, [head(states) for head in heads], seed=request["seed"])


def score(model: Any, values: Any, labels: Any) -> dict[str, float]:
    """Scores of what was read off, in percent."""
    if not isinstance(labels, dict):
        found = model.head.value_scores(labels, values)
    else:
        found = model.heads["slots"].value_scores(labels["slots"], values["slots"])
        right = [a == b for a, b in zip(values["intent"], labels["intent"], strict=True)]
        found["intent"] = sum(right) / len(right)
    return {key: 100 * value for key, value in found.items()}


if __name__ == "__main__":
    main()
