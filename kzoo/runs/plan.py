"""Everything that is decided before TensorFlow is imported, so that mistakes show at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from kzoo.datasets import Dataset
from kzoo.errors import RecipeError, RunError
from kzoo.runs.data import Say, aligned, facts, read_dataset, training_data
from kzoo.runs.folder import RunFolder
from kzoo.runs.goal import Direction, Goal
from kzoo.runs.goals import CLASSES, goal_of
from kzoo.runs.options import TrainOptions
from kzoo.training.settings import Training
from kzoo.zoo.catalogue import find_recipe
from kzoo.zoo.recipe import Recipe, merged, read_yaml

# What a resumed run must share with its beginning; epochs may be added.
_FIXED = ("kind", "recipe", "dataset", "distillation")
_FREE = ("recipe.training.epochs",)


@dataclass(frozen=True)
class Plan:
    """A run that could start now.

    Args:
        kind: `train` or `distill`.
        folder: Where it is written.
        goal: What is learned.
        recipe: With all overrides, and the labels where it learns classes.
        dataset: `train`, perhaps `validation` and `test`; class ids as the recipe's labels count.
        options: As asked for, on top of those of the run that is resumed.
        config: For `config.yaml`.
        say: Takes lines for the user.
    """

    kind: str
    folder: RunFolder
    goal: Goal
    recipe: Recipe
    dataset: Dataset
    options: TrainOptions
    config: dict[str, Any]
    say: Say

    @property
    def training(self) -> Training:
        """The recipe's defaults of `fit`.

        Raises:
            RecipeError: Its training section is of a kind that says no such defaults.
        """
        if not isinstance(self.recipe.training, Training):
            raise RecipeError(
                f"recipe `{self.recipe.name}`: `training` of kind {self.recipe.training.kind!r} "
                "says no epochs, batch size and learning rate; a run needs them."
            )
        return self.recipe.training

    @property
    def direction(self) -> Direction:
        """Which direction of the metric is better."""
        return self.goal.metrics[self.metric]

    @property
    def metric(self) -> str:
        """The metric that decides which epoch is kept."""
        return self.goal.metric(self.options.metric)

    @property
    def validation(self) -> Any:
        """The validation split, or None."""
        return self.dataset.splits.get("validation")

    @property
    def command(self) -> str:
        """The shell command that continues the run."""
        words = [self.config["teacher"]] if "teacher" in self.config else []
        words += [self.config["recipe_from"], self.config["dataset_from"]]
        return f"kzoo {self.kind} {' '.join(words)} --out {self.folder.path} --resume"


def make_plan(
    kind: str,
    recipe: str | Path,
    dataset: str | Path | Dataset,
    out: str | Path,
    options: TrainOptions,
    say: Say,
    labels: Sequence[str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Plan:
    """Resolves and checks a run; writes nothing.

    Args:
        kind: `train` or `distill`.
        recipe: Zoo name or recipe file.
        dataset: Name, path or dataset.
        out: The run folder.
        options: See `TrainOptions`.
        say: Takes lines for the user.
        labels: The classes, in order. Default: the recipe's, or the dataset's.
        more: Further keys of `config.yaml`.

    Raises:
        KzooError: Of the kind of the mistake.
        DatasetError: See `kzoo.datasets.load`.
    """
    folder = RunFolder(out)
    folder.check_writable(options.overwrite, options.resume)
    resolved = merged(find_recipe(recipe), options.recipe_overrides())
    goal = goal_of(resolved)
    if kind == "distill" and goal is not CLASSES:
        raise RecipeError(
            f"recipe `{resolved.name}` learns {goal.what}; this command distils classifiers. In "
            f"Python: kzoo.Distiller(teacher, kzoo.load({resolved.name!r}), losses)."
        )
    options = replace(options, metric=goal.metric(options.metric))
    read = read_dataset(dataset, options.data, goal)
    said: list[str] = []  # told when nothing can be wrong any more
    ready = training_data(read, options.take, resolved.seed, said.append, goal)
    if options.tune_thresholds is not None:
        goal.check_thresholds(ready)
    if goal.classed:
        resolved, ready = _with_classes(resolved, ready, goal, labels)
    config = {
        "kind": kind,
        "recipe_from": str(recipe),
        "dataset_from": read.name if isinstance(dataset, Dataset) else str(dataset),
        **(more or {}),
        "seed": resolved.seed,
        "recipe": resolved.model_dump(mode="json"),
        "dataset": facts(ready),
        "options": options.to_dict(),
    }
    if options.resume:
        _check_same(read_yaml(folder.config), yaml.safe_load(yaml.safe_dump(config)))
    for line in said:
        say(line)
    return Plan(kind, folder, goal, resolved, ready, options, config, say)


def _with_classes(
    recipe: Recipe, dataset: Dataset, goal: Goal, labels: Sequence[str] | None
) -> tuple[Recipe, Dataset]:
    """The recipe with the classes, and the dataset with its ids counted as the recipe does."""
    (head,) = recipe.every_head
    options = recipe.every_head[head].options
    found = list(labels or options.get("labels") or goal.in_order(dataset.label_names or []))
    names = [str(label) for label in found]
    if options.get("num_classes") not in (None, len(found)):
        raise RecipeError(
            f"recipe `{recipe.name}` has `num_classes` {options['num_classes']}, but there are "
            f"{len(found)} classes: {', '.join(names[:5])}{', ...' if len(found) > 5 else ''}."
        )
    key = "labels" if recipe.head is not None else f"heads.{head}.labels"
    splits = {
        name: aligned(split, names, f"`{name}` of {dataset.name!r}")
        for name, split in dataset.items()
    }
    return merged(recipe, {key: found}), replace(dataset, splits=splits, label_names=names)


def stored_options(options: TrainOptions, out: str | Path) -> TrainOptions:
    """The options of the run that is resumed, with what is said anew on top."""
    config = RunFolder(out).config
    if not options.resume or not config.is_file():
        return options
    return options.on_top_of(read_yaml(config).get("options") or {})


def _check_same(stored: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for key in _FIXED:
        found = _difference(stored.get(key), now.get(key), key)
        if found is not None:
            where, before, after = found
            raise RunError(
                f"A resumed run keeps what it began with, but `{where}` was {before!r} and is "
                f"{after!r} now. Leave that option out, or start anew with `overwrite=True`."
            )


def _difference(a: Any, b: Any, where: str) -> tuple[str, Any, Any] | None:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in [*a, *(k for k in b if k not in a)]:
            found = _difference(a.get(key), b.get(key), f"{where}.{key}")
            if found is not None:
                return found
        return None
    return None if a == b or where in _FREE else (where, a, b)
