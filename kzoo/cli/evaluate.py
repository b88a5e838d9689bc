"""`kzoo evaluate`: scores of a trained model on labelled rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from kzoo.cli import console
from kzoo.cli import parameters as p


def evaluate(
    model: p.Trained,
    dataset: p.Dataset,
    split: Annotated[
        str | None, typer.Option(help="Which split. [test, or the only one there is]")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the scores as JSON too.")] = None,
    text_column: p.TextColumn = None,
    pair_column: p.PairColumn = None,
    label_column: p.LabelColumn = None,
    label_separator: p.LabelSeparator = "|",
    encoding: p.Encoding = "utf-8",
    strict: p.Strict = False,
    as_json: p.Json = False,
) -> None:
    """Score a trained model.

    A classifier: accuracy, macro-F1 and a table of the classes. Label sets: micro-F1, macro-F1,
    label ranking average precision and a table of the labels. Ratings: accuracy, mean absolute
    error and quadratic kappa. Numbers: rmse, Pearson's and Spearman's correlation. Tags: accuracy
    of words, precision, recall and F1 of entities. Answers: exact match and F1. Relevance:
    nDCG and mean reciprocal rank. Choices: accuracy. Vectors: mean reciprocal rank. A generator:
    loss, accuracy and perplexity of the next token.
    """
    from kzoo.runs.data import aligned, read_dataset
    from kzoo.runs.goals import CLASSES
    from kzoo.runs.reader import load_trained, trained_facts, trained_file

    file = trained_file(model)
    facts = trained_facts(file)
    goal = facts.goal if facts.goal is not None else CLASSES
    options = p.data_options(
        text_column, pair_column, label_column, encoding, strict, label_separator
    )
    data = read_dataset(dataset, options, goal)
    name = _choose(data, split)
    where = f"`{name}` of {data.name!r}"
    if facts.labels is not None and goal.classed:  # a mistake shows before TensorFlow is imported
        aligned(data[name], facts.labels, where)
    found = {"model": model, "dataset": data.name, "split": name}
    found |= goal.score(load_trained(file, facts.goal), data[name], where).to_dict()
    if out is not None:
        from kzoo.files import write_text

        write_text(out, json.dumps(found, indent=2) + "\n")
    if as_json:
        return console.show_json(found)
    from kzoo.cli.results import show_scores

    show_scores(found, f"{model} on {name} of {data.name}")


def _choose(data: Any, split: str | None) -> str:
    if split is not None:
        data[split]  # a wrong name is refused here
        return split
    if "test" in data:
        return "test"
    if len(data) == 1:
        return str(next(iter(data)))
    raise typer.BadParameter(
        f"dataset {data.name!r} has no test split; choose one with --split: {', '.join(data)}"
    )
