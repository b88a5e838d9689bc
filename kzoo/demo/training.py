"""The adapter is fitted, the students with and without it as their teacher; saved and timed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

import kzoo
from kzoo.cli.progress import TrainingProgress
from kzoo.datasets import Dataset
from kzoo.demo.settings import Settings
from kzoo.distillation import SoftTargetKL
from kzoo.files import replacing_folder
from kzoo.training.schedule import WarmupLinearDecay

ADAPTER = "bert-adapter"
STUDENT = "bert-tiny-student"


def load_adapter(data: Dataset, settings: Settings) -> Any:
    """The untrained adapter model, its classes known."""
    return kzoo.load(
        ADAPTER,
        labels=data.label_names,
        max_tokens=settings.max_tokens,
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        seed=settings.seed,
    )


def load_student(data: Dataset, settings: Settings) -> Any:
    """An untrained student, its classes known."""
    return kzoo.load(
        STUDENT,
        labels=data.label_names,
        max_tokens=settings.max_tokens,
        learning_rate=settings.student_learning_rate,
        epochs=settings.student_epochs,
        seed=settings.seed,
    )


def fit_adapter(model: Any, data: Dataset, console: Console) -> tuple[dict[str, list[float]], int]:
    """Fits on the training split; the epoch with the best validation accuracy is kept.

    Returns:
        Metric -> value after each epoch, and the epoch that was kept, from 1.
    """
    best = keras.callbacks.EarlyStopping(
        monitor="val_accuracy", mode="max", patience=3, restore_best_weights=True
    )
    history = model.fit(data, verbose=0, callbacks=[best, TrainingProgress(console, "epoch")])
    values = {key: [float(v) for v in column] for key, column in history.history.items()}
    accuracies = values["val_accuracy"]
    return values, 1 + accuracies.index(max(accuracies))


def fit_student(student: Any, data: Dataset, console: Console) -> None:
    """Trains a student on the labels alone."""
    student.fit(
        data["train"], verbose=0, callbacks=[TrainingProgress(console, "student alone, epoch")]
    )


def distil(teacher: Any, student: Any, data: Dataset, settings: Settings, console: Console) -> None:
    """Trains a student on the labels and on what the teacher says; all else as in `fit_student`."""
    distiller = kzoo.Distiller(
        teacher,
        student,
        SoftTargetKL(settings.temperature),
        student_loss_weight=settings.student_loss_weight,
    )
    training = student.training_settings
    distiller.compile(
        keras.optimizers.Adam(training.learning_rate, global_clipnorm=training.clip_norm),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    callbacks = [
        WarmupLinearDecay(training.warmup),
        TrainingProgress(console, "student with teacher, epoch"),
    ]
    distiller.fit(data["train"], epochs=training.epochs, verbose=0, callbacks=callbacks)


def texts_per_second(
    models: Mapping[str, Any], texts: Sequence[str], rounds: int
) -> dict[str, float]:
    """Median speed of `predict`, texts in and logits out, tokenising included.

    The models take turns, so that a busy moment of the machine hits all of them.

    Args:
        models: Name -> model.
        texts: n texts.
        rounds: Measurements of each model, after one that is not counted.

    Returns:
        Name -> texts a second.
    """
    found: dict[str, list[float]] = {name: [] for name in models}
    for number in range(rounds + 1):
        for name, model in models.items():
            began = time.perf_counter()
            model.predict(list(texts), batch_size=32, verbose=0)
            if number:  # the first round compiles
                found[name].append(len(texts) / (time.perf_counter() - began))
    return {name: statistics.median(values) for name, values in found.items()}


def save_model(model: Any, folder: Path) -> float:
    """Saves a model as `folder/model.keras`, which `kzoo.load(folder)` understands.

    Returns:
        Size of the file in 10^6 bytes.
    """
    with replacing_folder(folder) as fresh:
        model.save(fresh / "model.keras")
    return folder_megabytes(folder)


def folder_megabytes(folder: Path) -> float:
    """Size of all files in a folder, in 10^6 bytes."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6
