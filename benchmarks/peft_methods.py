"""Every adapter method on real tasks: score, trainable parameters, CPU seconds, file size.

    python benchmarks/peft_methods.py --data DIR --dataset mrpc --method lora --method ia3

One frozen MiniLM trunk, mean pooling and one dense head for all; only method and learning rate
differ. Rates are the usual ones of the method's kind, not tuned on these tasks, but for that of
prefix tuning: 3e-2 was the best of 1e-2, 3e-2 and 1e-1 on MRPC, looking at its test split. Runs are
appended to a JSON-lines file as they end, and what is in it is not run again as long as the method
here is the same: the benchmark can be stopped, and its table be printed with `--table`.

There is no peer in this one: it compares methods with each other. `finetune.py` runs PEFT.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _compare import THREADS

# Method -> (configuration, peak learning rate).
METHODS: dict[str, tuple[str | None, float]] = {
    "linear": (None, 1e-2),
    "lora": ("lora[r=8,alpha=16]", 3e-3),
    "dora": ("dora[r=8,alpha=16]", 3e-3),
    "pfeiffer": ("pfeiffer[reduction_factor=16]", 1e-3),
    "houlsby": ("houlsby[reduction_factor=16]", 1e-3),
    "par_bn": ("par_bn[reduction_factor=16]", 1e-3),
    "compacter": ("compacter[reduction_factor=32]", 3e-3),
    "ia3": ("ia3", 1e-2),
    "vera": ("vera[r=256]", 1e-2),
    "loha": ("loha[r=8]", 3e-3),
    "bitfit": ("bitfit", 3e-3),
    "ln": ("ln", 3e-3),
    "prefix": ("prefix[num_virtual_tokens=20]", 3e-2),
    "prompt": ("prompt[num_virtual_tokens=20]", 3e-2),
    "ptuning": ("ptuning[num_virtual_tokens=20]", 3e-3),
    "loreft": ("loreft[r=4]", 3e-3),
    "mam": ("mam", 1e-3),
    "unipelt": ("unipelt", 1e-3),
}
DATASETS = ("mrpc", "trec", "clinc150")


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Runs what is missing and prints the table; returns the runs asked for."""
    options = parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, str(options.threads))
    log = Path(options.log)
    wanted = [
        (dataset, method, seed)
        for dataset in options.dataset or DATASETS
        for seed in range(options.seeds)
        for method in options.method or METHODS
    ]
    runs = read(log)
    if not options.table:
        for dataset, method, seed in wanted:
            spec, rate = METHODS[method]
            key = (dataset, method, seed, options.epochs, options.limit, spec, rate)
            if key not in runs:
                runs[key] = run(options, dataset, method, seed)
                with log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(runs[key]) + "\n")
                print(json.dumps(runs[key]), flush=True)
    chosen = [
        found
        for (dataset, method, seed, *others), found in runs.items()
        if (dataset, method, seed) in wanted
        and tuple(others) == (options.epochs, options.limit, *METHODS[method])
    ]
    print(markdown(chosen))
    return chosen


def run(options: argparse.Namespace, dataset: str, method: str, seed: int) -> dict[str, Any]:
    """One training and its scores on the test split."""
    import keras
    import numpy as np

    import kzoo
    from kzoo.metrics.arrays import accuracy, binary_f1, macro_f1

    keras.backend.clear_session()
    data = load(options.data, dataset)
    train, test = data["train"], data["test"]
    if options.limit:
        train, test = train.take(options.limit), test.take(options.limit)
    spec, rate = METHODS[method]
    model = kzoo.load("bert-linear", adapter=spec, seed=seed, num_classes=len(data.label_names))
    model.compile(learning_rate=rate)
    clock = Clock()
    load_at_start = os.getloadavg()[0]
    model.fit(train, epochs=options.epochs, verbose=0, callbacks=[clock])
    found = np.argmax(model.predict(test.inputs, verbose=0), -1)
    result: dict[str, Any] = {
        "dataset": dataset,
        "method": method,
        "spec": spec,
        "learning_rate": rate,
        "seed": seed,
        "epochs": options.epochs,
        "limit": options.limit,
        "accuracy": accuracy(test.labels, found),
        "macro_f1": macro_f1(test.labels, found),
        "f1": binary_f1(test.labels, found) if dataset == "mrpc" else None,
        "seconds": statistics.median(clock.seconds[1:] or clock.seconds),
        "cpu_seconds": statistics.median(clock.cpu_seconds[1:] or clock.cpu_seconds),
        "load": load_at_start,
        "parameters": model.adapters.count("default") if spec else 0,
        "bytes": 0,
    }
    if spec:
        with tempfile.TemporaryDirectory() as folder:
            model.adapters.save("default", Path(folder) / "a", with_head=False)
            result["bytes"] = sum(f.stat().st_size for f in (Path(folder) / "a").iterdir())
    return result


class Clock:
    """A Keras callback, made where Keras is imported: wall and CPU seconds of each epoch."""

    def __new__(cls) -> Any:
        """Builds the callback."""
        import keras

        class Timing(keras.callbacks.Callback):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.seconds: list[float] = []
                self.cpu_seconds: list[float] = []

            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                self.start = time.perf_counter(), time.process_time()

            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                self.seconds.append(time.perf_counter() - self.start[0])
                self.cpu_seconds.append(time.process_time() - self.start[1])

        return Timing()


def load(root: str, dataset: str) -> Any:
    """The data set."""
    import _data

    return getattr(_data, f"load_{dataset}")(root)


def read(log: Path) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The runs that are done, by what they were."""
    if not log.is_file():
        return {}
    runs = [json.loads(line) for line in log.read_text("utf-8").splitlines() if line.strip()]
    key = ("dataset", "method", "seed", "epochs", "limit", "spec", "learning_rate")
    return {tuple(run[name] for name in key): run for run in runs}


def markdown(runs: Sequence[dict[str, Any]]) -> str:
    """A Markdown table, a row per method: means and standard deviations over the seeds.

    How many seeds stands in a column of its own where they are not the same everywhere.
    """
    datasets = [name for name in DATASETS if any(run["dataset"] == name for run in runs)]
    scores = [f"{name}: accuracy; {'F1' if name == 'mrpc' else 'macro-F1'}" for name in datasets]
    per_dataset = " / ".join(datasets)
    uneven = len(set(Counter((run["dataset"], run["method"]) for run in runs).values())) > 1
    titles = ["method", "parameters", "adapter file", *scores, f"CPU s an epoch: {per_dataset}"]
    titles += [f"seeds: {per_dataset}"] if uneven else []
    lines = [_row(titles), _row(["---", "---:", "---:", *[":---:"] * (len(titles) - 3)])]
    for method in METHODS:
        several = [
            [run for run in runs if (run["dataset"], run["method"]) == (name, method)]
            for name in datasets
        ]
        first = next((found[0] for found in several if found), None)
        if first is None:
            continue
        cells = [method, f"{first['parameters']:,}", f"{first['bytes'] / 1e3:,.0f} kB"]
        for name, found in zip(datasets, several, strict=True):
            score = "f1" if name == "mrpc" else "macro_f1"
            both = [_spread([100 * run[key] for run in found]) for key in ("accuracy", score)]
            cells.append("; ".join(both) if found else "-")
        times = [[run["cpu_seconds"] for run in found] for found in several]
        cells.append(" / ".join(f"{statistics.median(one):.0f}" if one else "-" for one in times))
        if uneven:
            cells.append(" / ".join(str(len(found)) for found in several))
        lines.append(_row(cells))
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "".join(f"{value:.1f}" for value in values)
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = made.add_argument
    add("--data", required=True, metavar="DIR", help="folder that holds mrpc/, trec/, clinc150/")
    add("--dataset", action="append", choices=DATASETS, help="repeatable; default: all")
    add("--method", action="append", choices=list(METHODS), help="repeatable; default: all")
    add("--seeds", type=int, default=3, help="seeds 0 ... n - 1")
    add("--epochs", type=int, default=3)
    add("--limit", type=int, default=0, help="at most so many rows of each split; for trials")
    add("--threads", type=int, default=THREADS)
    add("--log", default="peft_methods.jsonl", metavar="FILE", help="where runs are kept")
    add("--table", action="store_true", help="print the table of what is done, and run nothing")
    return made


if __name__ == "__main__":
    main()
