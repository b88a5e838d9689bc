"""`kzoo distill`: a student learns from a trained run."""

from __future__ import annotations

from typing import Annotated

import typer

from kzoo.cli import console
from kzoo.cli import parameters as p
from kzoo.cli.train import LazyLines


def distill(
    teacher: Annotated[str, typer.Argument(help="Run folder or .keras file of the teacher.")],
    student: Annotated[str, typer.Argument(help="A recipe, such as bert-tiny-student.")],
    dataset: p.Dataset,
    out: p.Out,
    temperature: Annotated[
        float, typer.Option(help="Softens the probabilities of both models.")
    ] = 2.0,
    alpha: Annotated[
        float, typer.Option(help="Share of the loss on labels, 0 to 1; the rest is the teacher's.")
    ] = 0.5,
    epochs: p.Epochs = None,
    batch_size: p.BatchSize = None,
    learning_rate: p.LearningRate = None,
    adapter: p.Adapter = None,
    max_tokens: p.MaxTokens = None,
    seed: p.Seed = None,
    jit: p.Jit = "auto",
    take: p.Take = None,
    patience: p.Patience = None,
    metric: p.Metric = None,
    tensorboard: p.Tensorboard = False,
    override: p.Set = None,
    text_column: p.TextColumn = None,
    pair_column: p.PairColumn = None,
    label_column: p.LabelColumn = None,
    encoding: p.Encoding = "utf-8",
    strict: p.Strict = False,
    overwrite: p.Overwrite = False,
    resume: p.Resume = False,
) -> None:
    """Train a student recipe on a dataset and on a teacher's answers.

    Writes a run folder like `kzoo train`; its report compares teacher and student in accuracy,
    parameters, file size and time per text.
    """
    from kzoo import runs
    from kzoo.cli.results import show_comparison, show_report

    options = runs.DistillOptions(
        temperature=temperature,
        student_loss_weight=alpha,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        adapter=adapter,
        max_tokens=max_tokens,
        seed=seed,
        overrides=p.parse_set(override),
        jit=jit,  # type: ignore[arg-type]
        take=take,
        patience=patience,
        metric=metric,
        tensorboard=tensorboard,
        data=p.data_options(text_column, pair_column, label_column, encoding, strict),
        overwrite=overwrite,
        resume=resume,
    )
    lines = LazyLines()
    report = runs.distill(teacher, student, dataset, out, options, say=console.say, callbacks=lines)
    show_report(report, out)
    show_comparison(report["distillation"])
