"""Runs: one training, one folder that says everything about it.

    from kzoo import runs
    report = runs.train("bert-adapter", "python-docs", "runs/docs", runs.TrainOptions(epochs=2))
    runs.open_run("runs/docs").metrics        # one dict per epoch

Attributes load on first use; importing this package imports neither TensorFlow nor NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kzoo.runs.distilling import DistillOptions, distill
    from kzoo.runs.errors import Interrupted, RunError
    from kzoo.runs.options import DataOptions, TrainOptions
    from kzoo.runs.reader import Run, load_trained, open_run
    from kzoo.runs.scores import Scores, score
    from kzoo.runs.training import train

__all__ = [
    "DataOptions",
    "DistillOptions",
    "Interrupted",
    "Run",
    "RunError",
    "Scores",
    "TrainOptions",
    "distill",
    "load_trained",
    "open_run",
    "score",
    "train",
]

_WHERE = {
    "DataOptions": "options",
    "DistillOptions": "distilling",
    "Interrupted": "errors",
    "Run": "reader",
    "RunError": "errors",
    "Scores": "scores",
    "TrainOptions": "options",
    "distill": "distilling",
    "load_trained": "reader",
    "open_run": "reader",
    "score": "scores",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'kzoo.runs' has no attribute {name!r}")
    return getattr(importlib.import_module(f"kzoo.runs.{_WHERE[name]}"), name)
