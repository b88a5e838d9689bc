"""Options that several commands share, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from kzoo.runs import DataOptions

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Dataset = Annotated[
    str,
    typer.Argument(
        help="A name (`kzoo list --datasets`), a .jsonl, .csv, .tsv or .parquet file, a folder "
        "with train.*, validation.*, test.*, or a TensorFlow Datasets name."
    ),
]
Trained = Annotated[
    str, typer.Argument(metavar="RUN_OR_MODEL", help="A run folder, or a .keras file.")
]
Out = Annotated[Path, typer.Option("--out", help="Run folder to write, such as runs/first.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Passes over the training rows.")]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Rows a step.")]
LearningRate = Annotated[float | None, typer.Option(help="Peak learning rate.")]
Adapter = Annotated[
    str | None, typer.Option(help="Such as 'lora[r=8]'; 'none'; see `kzoo list --methods`.")
]
MaxTokens = Annotated[int | None, typer.Option(min=3, help="Longest input in tokens.")]
Seed = Annotated[
    int | None, typer.Option(help="Initial values, order, dropout and validation rows. [0]")
]
Jit = Annotated[str, typer.Option(help="XLA: auto, on or off.")]
Take = Annotated[int | None, typer.Option(help="Train on so many rows, every class in proportion.")]
Patience = Annotated[
    int | None, typer.Option(help="Stop when --metric did not improve for so many epochs.")
]
Metric = Annotated[
    str | None,
    typer.Option(
        help="Decides which epoch is kept: [val_accuracy] or val_macro_f1 for classes, "
        "[val_micro_f1], val_macro_f1 or val_lrap for label sets, [val_kappa], val_mae or "
        "val_accuracy for ratings, [val_pearson], val_spearman or val_rmse for numbers, "
        "[val_perplexity] or val_accuracy for texts."
    ),
]
TuneThresholds = Annotated[
    str | None,
    typer.Option(
        help="Of label sets: thresholds with the best F1 on the validation rows, of each label "
        "(macro) or over all (micro). [probability one half]"
    ),
]
Tensorboard = Annotated[bool, typer.Option("--tensorboard", help="Write tensorboard/ too.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any recipe key, such as head.dropout=0.2, value in YAML; repeatable.",
    ),
]
TextColumn = Annotated[str | None, typer.Option(help="Column of the text. [by its name]")]
PairColumn = Annotated[str | None, typer.Option(help="Column of the second text.")]
LabelColumn = Annotated[str | None, typer.Option(help="Column of the label. [by its name]")]
LabelSeparator = Annotated[
    str, typer.Option(help="Between several labels in one string, which may be a JSON list too.")
]
Encoding = Annotated[str, typer.Option(help="Encoding of text files.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Refuse the first bad row instead of counting it.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue after the last complete epoch of --out.")
]


def parse_set(pairs: list[str] | None) -> dict[str, Any]:
    """`["head.dropout=0.1"]` as `{"head.dropout": 0.1}`.

    Raises:
        RecipeError: No `=`, a key given twice, or a value that is not YAML.
    """
    import yaml

    from kzoo.errors import RecipeError

    found: dict[str, Any] = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        key = key.strip()
        if not equals or not key:
            raise RecipeError(f"--set must be KEY=VALUE, such as warmup=0.1. Received: {pair!r}")
        if key in found:
            raise RecipeError(f"--set {key} was given twice. Give it once.")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise RecipeError(f"--set {pair!r}: {value!r} is not a YAML value.") from error
    return found


#: The parameters of `data_options`, as commands have them.
READING = (
    *("text_column", "pair_column", "label_column", "encoding", "strict", "label_separator"),
)


def data_options(
    text_column: str | None,
    pair_column: str | None,
    label_column: str | None,
    encoding: str,
    strict: bool,
    label_separator: str = "|",
) -> DataOptions:
    """The options that say how a dataset is read."""
    from kzoo.runs import DataOptions

    return DataOptions(text_column, pair_column, label_column, encoding, strict, label_separator)
