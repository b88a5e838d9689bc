"""What a run learns: classes, numbers or texts; which rows that takes, and what it is judged by.

Imports neither TensorFlow nor Keras, so that mistakes show before either is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from kzoo.datasets import Dataset, Split
from kzoo.errors import InputError, RecipeError
from kzoo.runs.errors import RunError

if TYPE_CHECKING:
    from kzoo.runs.scores import Scored
    from kzoo.zoo.recipe import Recipe

Direction = Literal["max", "min"]


class Goal:
    """What the head of a recipe learns.

    Attributes:
        kinds: The kinds of heads that learn it.
        classes: Their Keras classes, as saved models name them.
        what: What is learned, in a word.
        metrics: What may decide which epoch is kept, and which direction is better; the first is
            the default.
        shares: How rows are drawn, for people.
    """

    kinds: ClassVar[tuple[str, ...]]
    classes: ClassVar[tuple[str, ...]]
    what: ClassVar[str]
    metrics: ClassVar[Mapping[str, Direction]]
    shares: ClassVar[str] = "at random"
    labelled: ClassVar[bool] = True

    def load_options(self) -> dict[str, Any]:
        """Arguments of `kzoo.datasets.load`."""
        return {}

    def check(self, dataset: Dataset) -> Dataset:
        """The dataset as this goal needs it.

        Raises:
            InputError: It holds something else.
        """
        return dataset

    def check_train(self, dataset: Dataset) -> None:
        """Refuses training rows that nothing can be learned from."""

    def score(self, model: Any, split: Split, where: str = "the dataset") -> Scored:
        """How well a model does on rows."""
        raise NotImplementedError

    def metric(self, wanted: str | None) -> str:
        """The metric that decides which epoch is kept.

        Raises:
            RunError: It is one of another goal.
        """
        if wanted is None:
            return next(iter(self.metrics))
        if wanted not in self.metrics:
            raise RunError(
                f"`metric` must be {' or '.join(self.metrics)} for a recipe that learns "
                f"{self.what}. Received: {wanted!r}"
            )
        return wanted


class Classes(Goal):
    """One class a row."""

    kinds = ("classify",)
    classes = ("Classify",)
    what = "classes"
    metrics: ClassVar[Mapping[str, Direction]] = {"val_accuracy": "max", "val_macro_f1": "max"}
    shares = "classes in proportion"

    def check(self, dataset: Dataset) -> Dataset:
        """See `Goal`."""
        if dataset.label_names is None:
            scores = any(split.is_regression for split in dataset.splits.values())
            what = "numbers on a scale" if scores else "no labels"
            raise InputError(f"dataset {dataset.name!r} has {what}; classes are needed.")
        return dataset

    def check_train(self, dataset: Dataset) -> None:
        """See `Goal`: two classes at least."""
        train = _labelled(dataset)
        present = np.unique(train.labels)  # type: ignore[arg-type]
        if len(present) < 2:
            only = (dataset.label_names or [])[int(present[0])]
            raise InputError(
                f"dataset {dataset.name!r} has one class only: {only!r} in all {len(train)} "
                "training rows. A classifier needs at least two."
            )

    def score(self, model: Any, split: Split, where: str = "the dataset") -> Scored:
        """See `Goal`."""
        from kzoo.runs.scores import score

        return score(model, split, where)


class Numbers(Goal):
    """A number a row."""

    kinds = ("regress",)
    classes = ("Regress",)
    what = "numbers"
    metrics: ClassVar[Mapping[str, Direction]] = {
        "val_pearson": "max",
        "val_spearman": "max",
        "val_rmse": "min",
    }

    def load_options(self) -> dict[str, Any]:
        """See `Goal`."""
        return {"task": "regression"}

    def check(self, dataset: Dataset) -> Dataset:
        """See `Goal`."""
        if not any(split.is_regression for split in dataset.splits.values()):
            what = "no labels" if dataset.label_names is None else "classes"
            raise InputError(f"dataset {dataset.name!r} has {what}; numbers are needed.")
        return dataset

    def check_train(self, dataset: Dataset) -> None:
        """See `Goal`: two different numbers at least."""
        train = _labelled(dataset)
        if np.ptp(train.labels) == 0:  # type: ignore[arg-type]
            raise InputError(
                f"dataset {dataset.name!r} has one number only: {train.labels[0]:g} in all "  # type: ignore[index]
                f"{len(train)} training rows. There is nothing to learn."
            )

    def score(self, model: Any, split: Split, where: str = "the dataset") -> Scored:
        """See `Goal`."""
        from kzoo.runs.scores import score_numbers

        return score_numbers(model, split, where)


class Texts(Goal):
    """The next token: of texts, or of what follows a prompt."""

    kinds = ("causal_lm",)
    classes = ("CausalLM",)
    what = "texts"
    metrics: ClassVar[Mapping[str, Direction]] = {"val_perplexity": "min", "val_accuracy": "max"}
    labelled = False

    def load_options(self) -> dict[str, Any]:
        """See `Goal`."""
        return {"labelled": False}

    def check(self, dataset: Dataset) -> Dataset:
        """See `Goal`; labels are left out, so that nobody takes them for completions."""
        splits = {
            name: replace(split, labels=None, label_names=None)
            for name, split in dataset.splits.items()
        }
        return replace(dataset, splits=splits, label_names=None)

    def score(self, model: Any, split: Split, where: str = "the dataset") -> Scored:
        """See `Goal`."""
        from kzoo.runs.scores import score_texts

        return score_texts(model, self.check_pairs(split, where), where)

    def check_pairs(self, split: Split, where: str) -> Split:
        """The split; pairs are prompt and completion, single texts are learned as a whole."""
        return split


class Targets(Texts):
    """A text for a text."""

    kinds = ("seq2seq_lm",)
    classes = ("Seq2SeqLM",)
    what = "texts for texts"

    def check(self, dataset: Dataset) -> Dataset:
        """See `Goal`."""
        for name, split in dataset.splits.items():
            self.check_pairs(split, f"`{name}` of {dataset.name!r}")
        return super().check(dataset)

    def check_pairs(self, split: Split, where: str) -> Split:
        """See `Texts`."""
        if split.text_pairs is None:
            raise InputError(
                f"{where} has single texts, but an encoder-decoder learns a target for each "
                "source. Name the two columns: `text_column` and `pair_column`."
            )
        return split


CLASSES = Classes()
GOALS: tuple[Goal, ...] = (CLASSES, Numbers(), Texts(), Targets())
METRICS = tuple(dict.fromkeys(name for goal in GOALS for name in goal.metrics))


def goal_of_kind(kind: str) -> Goal | None:
    """The goal of a kind of heads, or of their class; None where runs know none."""
    return next((goal for goal in GOALS if kind in (*goal.kinds, *goal.classes)), None)


def goal_of(recipe: Recipe) -> Goal:
    """What a recipe learns.

    Raises:
        RecipeError: A run cannot train it; says why, and what to do in Python.
    """
    heads = recipe.every_head
    if len(heads) > 1:
        raise RecipeError(
            f"recipe `{recipe.name}` has {len(heads)} heads ({', '.join(heads)}), and a dataset "
            f"here has one column of labels. In Python: kzoo.load({recipe.name!r}).fit(texts, "
            "{head: labels, ...})."
        )
    kind = next(iter(heads.values())).kind
    goal = goal_of_kind(kind)
    if goal is None:
        makes = "makes embeddings" if kind == "embed" else f"ends in a head of kind `{kind}`"
        known = ", ".join(kind for goal in GOALS for kind in goal.kinds)
        raise RecipeError(
            f"recipe `{recipe.name}` {makes} and has no labels to learn from a dataset; the heads "
            f"that are trained here are {known}. In Python: model = kzoo.load({recipe.name!r}); "
            "model.compile(loss=...); model.fit(texts, targets)."
        )
    return goal


def _labelled(dataset: Dataset) -> Split:
    train = dataset["train"]
    if train.labels is None:
        raise InputError(f"`train` of {dataset.name!r} has no labels.")
    return train
