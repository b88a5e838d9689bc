"""Runs: one training, one folder that says everything about it.

    from kzoo import runs
    report = runs.train("bert-adapter", "python-docs", "runs/docs", runs.TrainOptions(epochs=2))
    runs.open_run("runs/docs").metrics        # one dict per epoch

Attributes load on first use; importing this package imports neither TensorFlow nor NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval_index.lazy import lazy

if TYPE_CHECKING:
    from kzoo.errors import Interrupted, RunError
    from kzoo.runs.distilling import DistillOptions, distill
    from kzoo.runs.options import DataOptions, TrainOptions
    from kzoo.runs.reader import Run, load_trained, open_run
    from kzoo.runs.scores import Scores, score
    from kzoo.runs.training import train

__getattr__, __dir__, __all__ = lazy(__name__)
