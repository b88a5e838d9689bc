"""Fitting into a run folder, from the start or from the last checkpoint."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import keras
import yaml

from kzoo.errors import InputError
from kzoo.files import write_text
from kzoo.runs import metrics_log
from kzoo.runs.plan import Plan
from kzoo.runs.recording import BestEpoch, Recorder, save_for_use
from kzoo.strategy import scalar


@dataclass
class Trainee:
    """What is fitted.

    Args:
        fitted: The model that `fit` is called on: a classifier, or a Distiller.
        product: The model that comes out: the classifier, or the student.
    """

    fitted: Any
    product: Any

    @classmethod
    def of(cls, model: Any) -> Trainee:
        """A classifier, or a Distiller with its student."""
        return cls(model, getattr(model, "student", model))


def restore(plan: Plan) -> Trainee | None:
    """The models of the last checkpoint of a run that is resumed, or None to begin anew."""
    if not plan.options.resume:
        return None
    if not plan.folder.last.is_file():
        plan.say("the run had not finished its first epoch; it starts from the beginning")
        return None
    import kzoo

    with warnings.catch_warnings():
        # A student inside a Distiller has an optimizer that never ran; the Distiller's is loaded.
        warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
        return Trainee.of(kzoo.load(plan.folder.last))


def begin(plan: Plan, restored: bool) -> None:
    """Makes the folder, or keeps it, and writes what is known before the first step."""
    if not restored:
        plan.folder.clear()
    header = yaml.safe_dump(plan.config, sort_keys=False, allow_unicode=True)
    write_text(plan.folder.config, header)
    write_text(plan.folder.environment, json.dumps(environment(), indent=2) + "\n")
    facts = {} if restored else {"epochs_done": 0}
    epochs = plan.training.epochs
    plan.folder.set_status("running", kind=plan.kind, epochs=epochs, **facts)


def fit(plan: Plan, trainee: Trainee, callbacks: Sequence[Any], restored: bool) -> Recorder:
    """Trains to the last epoch, or until patience ends.

    Args:
        plan: The run.
        trainee: New and compiled, or restored.
        callbacks: Further Keras callbacks.
        restored: Whether it comes from the last checkpoint.

    Returns:
        The callback that kept the folder; it knows the best epoch.
    """
    training = plan.training
    best = BestEpoch(plan.metric, plan.options.patience, plan.direction)
    done = _replay(plan, trainee, best) if restored else 0
    recorder = Recorder(plan.folder, trainee.product, best, training.learning_rate, training.epochs)
    if done >= training.epochs or best.exhausted:
        return recorder
    if restored:
        plan.say(f"{done} of {training.epochs} epochs are done; going on with epoch {done + 1}")
    trainee.fitted.fit(
        plan.dataset["train"],
        batch_size=training.batch_size,
        epochs=training.epochs,
        initial_epoch=done,
        validation_data=plan.validation,
        verbose=0,
        callbacks=[recorder, *_tensorboard(plan), *callbacks],
    )
    return recorder


def _replay(plan: Plan, trainee: Trainee, best: BestEpoch) -> int:
    """Brings metrics and best model in line with the checkpoint; returns its epoch."""
    rows, size = plan.dataset["train"], plan.training.batch_size
    steps = -(-len(rows) // size)
    if rows.is_annotated:  # a long text is several windows
        steps = int(trainee.fitted.prepare(rows, batch_size=size).cardinality())
    done = int(scalar(trainee.fitted.optimizer.iterations)) // steps
    for row in metrics_log.keep_epochs(plan.folder.metrics, done):
        best.see(row["epoch"], row)
    if best.epoch == done:  # a crash may have come between checkpoint and best model
        save_for_use(trainee.product, plan.folder.model)
    return done


def _tensorboard(plan: Plan) -> list[Any]:
    if not plan.options.tensorboard:
        return []
    return [tensorboard(plan.folder.tensorboard)]


def tensorboard(path: Path) -> Any:
    """Keras' TensorBoard callback.

    Raises:
        InputError: tensorboard is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise InputError("TensorBoard is not installed: pip install tensorboard")
    return keras.callbacks.TensorBoard(str(path))


_PACKAGES = ("kzoo", "tensorflow", "keras", "keras-hub", "numpy", "tokenizers")


def environment() -> dict[str, Any]:
    """Python, platform, cores, package versions, git commit, device kinds, command line."""
    import tensorflow as tf

    devices = [device.device_type for device in tf.config.list_physical_devices()]
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "devices": {kind: devices.count(kind) for kind in sorted(set(devices))},
        "versions": {name: _version(name) for name in _PACKAGES},
        "git_commit": _git("rev-parse", "HEAD"),
        "git_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "command": sys.argv,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """Output of git in the current folder; None without git, or outside a repository."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
