"""`kzoo train`: a recipe, a dataset, a run folder."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kzoo.cli import console
from kzoo.cli import parameters as p


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe (`kzoo list`), or a .yaml recipe.")],
    dataset: p.Dataset,
    out: p.Out,
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
    tune_thresholds: p.TuneThresholds = None,
    tensorboard: p.Tensorboard = False,
    override: p.Set = None,
    text_column: p.TextColumn = None,
    pair_column: p.PairColumn = None,
    label_column: p.LabelColumn = None,
    label_separator: p.LabelSeparator = "|",
    encoding: p.Encoding = "utf-8",
    strict: p.Strict = False,
    overwrite: p.Overwrite = False,
    resume: p.Resume = False,
) -> None:
    """Train a recipe on a dataset and write a run folder.

    A classifier learns labels, the heads multilabel, ordinal and regress sets of labels, ratings
    and numbers, and a generator the texts themselves or, of two columns, the second after the
    first. The folder holds
    the configuration, seed, environment, metrics of every epoch, curves, the best model, its
    adapters, and a report. An interrupted run goes on with --resume.
    """
    from kzoo import runs
    from kzoo.cli.results import show_report

    options = runs.TrainOptions(
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
        tune_thresholds=tune_thresholds,  # type: ignore[arg-type]
        tensorboard=tensorboard,
        data=p.data_options(
            text_column, pair_column, label_column, encoding, strict, label_separator
        ),
        overwrite=overwrite,
        resume=resume,
    )
    report = runs.train(recipe, dataset, out, options, say=console.say, callbacks=LazyLines())
    show_report(report, out)


class LazyLines(list[Any]):
    """The callbacks of the command line, made when they are used: Keras is imported by then."""

    def __iter__(self) -> Any:
        from kzoo.cli.epochs import epoch_lines

        return iter([epoch_lines()])
