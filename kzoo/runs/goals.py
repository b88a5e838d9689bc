"""What runs learn: classes, label sets, ratings, numbers, tags, answers, candidates or texts.

Imports neither TensorFlow nor Keras, so that mistakes show before either is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from kzoo.datasets import Dataset, Split
from kzoo.errors import InputError, RecipeError, RunError
from kzoo.runs.goal import Direction, Goal, kind_of_labels, labelled_rows, refuse_single_texts

if TYPE_CHECKING:
    from kzoo.runs.scores import Scored
    from kzoo.zoo.recipe import Recipe


class Classes(Goal):
    """One class a row."""

    kinds = ("classify",)
    classes = ("Classify",)
    what = "classes"
    scorer = "score"
    metrics: ClassVar[Mapping[str, Direction]] = {"val_accuracy": "max", "val_macro_f1": "max"}
    shares = "classes in proportion"
    classed = True

    def check(self, dataset: Dataset) -> Dataset:
        """See `Goal`."""
        found = kind_of_labels(dataset)
        if found != "classes":
            raise InputError(f"dataset {dataset.name!r} has {found}; {self.what} are needed.")
        return dataset

    def check_train(self, dataset: Dataset) -> None:
        """See `Goal`: two classes at least."""
        train = labelled_rows(dataset)
        present = np.unique(train.labels)  # type: ignore[arg-type]
        if len(present) < 2:
            only = (dataset.label_names or [])[int(present[0])]
            raise InputError(
                f"dataset {dataset.name!r} has one class only: {only!r} in all {len(train)} "
                "training rows. A classifier needs at least two."
            )


class LabelSets(Goal):
    """Any number of labels a row."""

    kinds = ("multilabel",)
    classes = ("MultiLabel",)
    what = "label sets"
    scorer = "score_label_sets"
    metrics: ClassVar[Mapping[str, Direction]] = {
        "val_micro_f1": "max",
        "val_macro_f1": "max",
        "val_lrap": "max",
    }
    classed = True

    def load_options(self) -> dict[str, Any]:
        """See `Goal`."""
        return {"task": "multilabel"}

    def check(self, dataset: Dataset) -> Dataset:
        """See `Goal`."""
        found = kind_of_labels(dataset)
        if found != "label sets":
            raise InputError(f"dataset {dataset.name!r} has {found}; label sets are needed.")
        return dataset

    def check_thresholds(self, dataset: Dataset) -> None:
        """See `Goal`."""
        if "validation" not in dataset:
            raise RunError(
                f"`tune_thresholds` needs validation rows, and dataset {dataset.name!r} has too "
                "few rows to set some aside. Leave it out."
            )


class Ratings(Classes):
    """A rating a row, of ratings that have an order."""

    kinds = ("ordinal",)
    classes = ("Ordinal",)
    what = "ratings"
    scorer = "score_ratings"
    metrics: ClassVar[Mapping[str, Direction]] = {
        "val_kappa": "max",
        "val_mae": "min",
        "val_accuracy": "max",
    }

    def load_options(self) -> dict[str, Any]:
        """See `Goal`: each rating is a class, also where the column is called a score."""
        return {"task": "classification"}

    def in_order(self, labels: list[str]) -> list[Any]:
        """See `Goal`.

        Raises:
            InputError: They are no numbers.
        """
        try:
            return sorted(labels, key=float)
        except ValueError as error:
            raise InputError(
                f"the ratings {', '.join(labels[:5])} have no order of their own. Give it with the "
                "recipe key `head.labels`: [lowest, ..., highest]."
            ) from error


class Numbers(Goal):
    """A number a row."""

    kinds = ("regress",)
    classes = ("Regress",)
    what = "numbers"
    scorer = "score_numbers"
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
        found = kind_of_labels(dataset)
        if found != "numbers on a scale":
            raise InputError(f"dataset {dataset.name!r} has {found}; numbers are needed.")
        return dataset

    def check_train(self, dataset: Dataset) -> None:
        """See `Goal`: two different numbers at least."""
        train = labelled_rows(dataset)
        if np.ptp(train.labels) == 0:  # type: ignore[arg-type]
            raise InputError(
                f"dataset {dataset.name!r} has one number only: {train.labels[0]:g} in all "  # type: ignore[index]
                f"{len(train)} training rows. There is nothing to learn."
            )


class Similarities(Numbers):
    """How alike two texts are, by the cosine of their vectors."""

    kinds = ("similarity",)
    classes = ("Similarity",)
    what = "similarities"

    def check(self, dataset: Dataset) -> Dataset:
        """See `Goal`."""
        for name, split in dataset.splits.items():
            refuse_single_texts(split, f"`{name}` of {dataset.name!r}", "two texts are compared")
        return super().check(dataset)


class Tags(Goal):
    """A tag a word."""

    kinds = ("tag",)
    classes = ("Tag",)
    what = "tags"
    scorer = "score_annotated"
    metrics: ClassVar[Mapping[str, Direction]] = {"val_entity_f1": "max", "val_accuracy": "max"}
    task: ClassVar[str] = "tag"

    def load_options(self) -> dict[str, Any]:
        """See `Goal`."""
        return {"task": self.task}

    def check(self, dataset: Dataset) -> Dataset:
        """See `Goal`."""
        if not any(split.is_annotated for split in dataset.splits.values()):
            found = kind_of_labels(dataset)
            raise InputError(f"dataset {dataset.name!r} has {found}; {self.what} are needed.")
        return dataset


class Answers(Tags):
    """A part of a context for a question."""

    kinds = ("span",)
    classes = ("Span",)
    what = "answers"
    metrics: ClassVar[Mapping[str, Direction]] = {"val_exact_span": "max", "val_loss": "min"}
    task = "span"


class Relevances(Tags):
    """How relevant each of a query's passages is."""

    kinds = ("rank",)
    classes = ("Rank",)
    what = "the relevance of passages"
    metrics: ClassVar[Mapping[str, Direction]] = {
        "val_ndcg@10": "max",
        "val_mrr@10": "max",
        "val_loss": "min",
    }
    task = "rank"


class Relevance(Relevances):
    """How relevant the one passage of a row is."""

    metrics: ClassVar[Mapping[str, Direction]] = {"val_spearman": "max", "val_loss": "min"}


class Choices(Tags):
    """Which of a row's candidates is right."""

    kinds = ("choose",)
    classes = ("Choose",)
    what = "which candidate is right"
    metrics: ClassVar[Mapping[str, Direction]] = {"val_accuracy": "max", "val_loss": "min"}
    task = "choose"


class Texts(Goal):
    """The next token, of texts or of what follows a prompt; or hidden tokens."""

    kinds: ClassVar[tuple[str, ...]] = ("causal_lm", "masked_lm")
    classes: ClassVar[tuple[str, ...]] = ("CausalLM", "MaskedLM")
    what = "texts"
    scorer = "score_texts"
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
        return super().score(model, self.check_pairs(split, where), where)

    def check_pairs(self, split: Split, where: str) -> Split:
        """The split; pairs are prompt and completion, single texts are learned as a whole."""
        return split


class Targets(Texts):
    """A text for a text."""

    kinds = ("seq2seq_lm",)
    classes = ("Seq2SeqLM",)
    what = "texts for texts"
    needs: ClassVar[str] = "an encoder-decoder learns a target for each source"

    def check(self, dataset: Dataset) -> Dataset:
        """See `Goal`."""
        for name, split in dataset.splits.items():
            self.check_pairs(split, f"`{name}` of {dataset.name!r}")
        return super().check(dataset)

    def check_pairs(self, split: Split, where: str) -> Split:
        """See `Texts`."""
        refuse_single_texts(split, where, self.needs)
        return split


class Vectors(Targets):
    """Vectors, from pairs of texts that belong together."""

    kinds = ("contrast",)
    classes = ("Contrast",)
    what = "vectors"
    scorer = "score_vectors"
    metrics: ClassVar[Mapping[str, Direction]] = {"val_mrr": "max", "val_loss": "min"}
    needs = "vectors are learned from two texts that belong together"


CLASSES = Classes()
GOALS: tuple[Goal, ...] = (
    *(CLASSES, LabelSets(), Ratings(), Numbers(), Tags(), Answers()),
    *(Relevances(), Relevance(), Choices(), Similarities(), Vectors(), Texts(), Targets()),
)
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
    head = next(iter(heads.values()))
    kind, triplets = head.kind, head.options.get("loss") == "triplet"
    if kind == "contrast" and (triplets or len(head.options.get("columns") or (1, 2)) != 2):
        raise RecipeError(
            f"recipe `{recipe.name}` learns from rows of one text or of three and more, and a "
            f"dataset here has two. In Python: kzoo.load({recipe.name!r}).fit(rows)."
        )
    goal = goal_of_kind(kind)
    if isinstance(goal, Relevances) and head.options.get("k") == 1:
        return next(goal for goal in GOALS if isinstance(goal, Relevance))
    if goal is None:
        makes = "makes embeddings" if kind == "embed" else f"ends in a head of kind `{kind}`"
        known = ", ".join(kind for goal in GOALS for kind in goal.kinds)
        raise RecipeError(
            f"recipe `{recipe.name}` {makes} and has no labels to learn from a dataset; the heads "
            f"that are trained here are {known} (pairs of texts: `minilm-trained`). In Python: "
            f"model = kzoo.load({recipe.name!r}); model.compile(loss=...); "
            "model.fit(texts, targets)."
        )
    return goal
