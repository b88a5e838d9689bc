"""`kzoo train` and `kzoo distill`: a recipe, a dataset, a run folder."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from kzoo.cli import console
from kzoo.cli import parameters as p

if TYPE_CHECKING:
    from kzoo.runs import TrainOptions

_O = TypeVar("_O", bound="TrainOptions")


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
    given = locals()
    from kzoo import runs
    from kzoo.cli.results import show_report

    options = training_options(runs.TrainOptions, given)
    report = runs.train(recipe, dataset, out, options, say=console.say, callbacks=LazyLines())
    show_report(report, out)


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
    given = {**locals(), "student_loss_weight": alpha}
    from kzoo import runs
    from kzoo.cli.results import show_comparison, show_report

    options = training_options(runs.DistillOptions, given)
    lines = LazyLines()
    report = runs.distill(teacher, student, dataset, out, options, say=console.say, callbacks=lines)
    show_report(report, out)
    show_comparison(report["distillation"])


def training_options(kind: type[_O], given: dict[str, Any]) -> _O:
    """The options of a run out of the parameters of a command, which have the same names."""
    read = (given[name] for name in p.READING if name in given)
    own = {field.name: given[field.name] for field in fields(kind) if field.name in given}
    return kind(**own, overrides=p.parse_set(given["override"]), data=p.data_options(*read))


class LazyLines(list[Any]):
    """The callbacks of the command line, made when they are used: Keras is imported by then."""

    def __iter__(self) -> Any:
        from kzoo.cli.progress import EpochLines

        return iter([EpochLines()])
