"""The rows of a run: read, checked, sampled, with a validation split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kzoo.datasets import Dataset, Split, load
from kzoo.datasets import list as list_datasets
from kzoo.errors import InputError
from kzoo.runs.goal import Goal
from kzoo.runs.goals import CLASSES
from kzoo.runs.options import DataOptions

Say = Callable[[str], None]

_VALIDATION = 0.1
_SHOWN = 5


def read_dataset(
    name_or_path: str | Path | Dataset, options: DataOptions, goal: Goal = CLASSES
) -> Dataset:
    """A dataset by name or path, or the one that is passed.

    Args:
        name_or_path: Name, path or dataset.
        options: How it is read.
        goal: What is to be learned from it.

    Raises:
        DatasetError: See `kzoo.datasets.load`.
        InputError: It holds no such labels, such as scores where classes are needed.
    """
    if options.label_column is not None and not goal.labelled:
        raise InputError(
            f"`label_column` {options.label_column!r}: a recipe that learns {goal.what} reads no "
            "labels. Leave it out, or name the completions with `pair_column`."
        )
    if isinstance(name_or_path, Dataset):
        dataset = name_or_path
    else:
        made = {entry.name for entry in list_datasets()}
        dataset = load(
            name_or_path,
            text_column=options.text_column,
            pair_column=options.pair_column,
            label_column=options.label_column,
            encoding=options.encoding,
            strict=options.strict,
            label_separator=options.label_separator,
            # A data set that is made, not read, has nothing to choose; `check` says if it fits.
            **({} if str(name_or_path) in made else goal.load_options()),
        )
    return goal.check(dataset)


def training_data(
    dataset: Dataset, take: int | None, seed: int, say: Say, goal: Goal = CLASSES
) -> Dataset:
    """The dataset as it is trained on.

    Args:
        dataset: With a `train` split.
        take: Rows of `train` to keep, every class in proportion. Default: all.
        seed: Decides which rows are taken, and which become the validation split.
        say: Told in one line what was decided.
        goal: What is learned.

    Returns:
        A dataset with `train`, and a `validation` of the same kind unless there are too few rows.

    Raises:
        DatasetError: No `train` split, or fewer rows than `take`.
        InputError: One class or number only.
    """
    train = dataset["train"]
    if take is not None:
        if take > len(train):
            raise InputError(f"`take` is {take}, but {dataset.name!r} has {len(train)} rows.")
        train = train.take(take, seed=seed)
    splits = {**dataset.splits, "train": train}
    for name in [n for n, split in splits.items() if split.labels is None]:
        if name != "train" and goal.labelled:
            say(f"`{name}` of {dataset.name!r} has no labels and is not used.")
            del splits[name]
    dataset = replace(dataset, splits=splits)
    goal.check_train(dataset)
    if "validation" in dataset:
        return dataset
    if len(train) < 10:
        say(
            f"{len(train)} training rows are too few for a validation split; the last epoch is kept"
        )
        return dataset
    dataset = dataset.with_validation(_VALIDATION, seed)
    say(
        f"no validation split: {len(dataset['validation'])} of {len(train)} training rows (10 %, "
        f"{goal.shares}, seed {seed}) are set aside"
    )
    goal.check_train(dataset)
    return dataset


def aligned(split: Split, labels: Sequence[str], where: str) -> Split:
    """The split with its class ids counted as the model counts them.

    Args:
        split: Labelled rows; label sets as their columns.
        labels: The model's label names in the order of its outputs.
        where: What the rows are, for the error.

    Raises:
        InputError: Labels that the model does not know; all are named.
    """
    if split.labels is None or split.label_names is None:
        raise InputError(f"{where} has no labels; they are needed to score a model.")
    place = {label: i for i, label in enumerate(labels)}
    counts = split.class_counts or {}
    present = [name for name in split.label_names if counts[name]]
    unknown = [name for name in present if name not in place]
    if unknown:
        raise InputError(
            f"{where} has labels that the model does not know: {_short(unknown)}. "
            f"The model knows {_short(list(labels))}."
        )
    table = np.asarray([place.get(name, -1) for name in split.label_names], "int32")
    if split.has_label_sets:
        matrix = np.zeros((len(split), len(labels)), "int8")
        matrix[:, table[table >= 0]] = split.labels[:, table >= 0]
        return replace(split, labels=matrix, label_names=list(labels))
    return replace(split, labels=table[split.labels], label_names=list(labels))


def facts(dataset: Dataset) -> dict[str, Any]:
    """What `config.yaml` says about a dataset."""
    summary = dataset.summary()
    return {
        "name": dataset.name,
        "source": dataset.card.source,
        "license": dataset.card.license,
        "rows": {name: split["rows"] for name, split in summary["splits"].items()},
        "skipped": summary["skipped"],
        "columns": dict(dataset.card.columns),
        "notes": list(dataset.card.notes),
    }


def _short(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
