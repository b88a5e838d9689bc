"""The adapter is fitted; the students are trained with and without it as their teacher."""

from __future__ import annotations

from typing import Any

import keras
from rich.console import Console

import kzoo
from kzoo.datasets import Dataset
from kzoo.demo.progress import TrainingProgress
from kzoo.demo.settings import Settings
from kzoo.distillation import SoftTargetKL
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
