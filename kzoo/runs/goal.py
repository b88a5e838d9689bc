"""`Goal`: what a run learns, from what, and judged by what.

Imports neither TensorFlow nor Keras, so that mistakes show before either is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from kzoo.datasets import Dataset, Split
from kzoo.errors import InputError, RunError

if TYPE_CHECKING:
    from kzoo.runs.scores import Scored

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
        scorer: The function of `kzoo.runs.scores` that judges a model.
        labelled: Whether rows have labels.
        classed: Whether these are of a list of classes, which the recipe's head then names.
    """

    kinds: ClassVar[tuple[str, ...]]
    classes: ClassVar[tuple[str, ...]]
    what: ClassVar[str]
    metrics: ClassVar[Mapping[str, Direction]]
    scorer: ClassVar[str]
    shares: ClassVar[str] = "at random"
    labelled: ClassVar[bool] = True
    classed: ClassVar[bool] = False

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

    def in_order(self, labels: list[str]) -> list[Any]:
        """The classes that a dataset names, as the recipe's head shall know them."""
        return labels

    def check_thresholds(self, dataset: Dataset) -> None:
        """Refuses to tune thresholds where there are none, or no rows for it.

        Raises:
            RunError: Says which of the two.
        """
        raise RunError(
            f"`tune_thresholds` is for label sets; the recipe learns {self.what}. Leave it out."
        )

    def score(self, model: Any, split: Split, where: str = "the dataset") -> Scored:
        """How well a model does on rows."""
        from kzoo.runs import scores

        found: Scored = getattr(scores, self.scorer)(model, split, where)
        return found

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


def refuse_single_texts(split: Split, where: str, needs: str) -> None:
    """Refuses rows that are no pairs.

    Raises:
        InputError: Says what needs pairs.
    """
    if split.text_pairs is None:
        raise InputError(
            f"{where} has single texts, but {needs}. Name the two columns: `text_column` and "
            "`pair_column`."
        )


def kind_of_labels(dataset: Dataset) -> str:
    """What the labels are, for messages."""
    splits = list(dataset.splits.values())
    if any(split.is_regression for split in splits):
        return "numbers on a scale"
    if any(split.is_annotated for split in splits):
        return "annotations of texts"
    if dataset.label_names is None:
        return "no labels"
    return "label sets" if any(split.has_label_sets for split in splits) else "classes"


def labelled_rows(dataset: Dataset) -> Split:
    """The split `train`.

    Raises:
        InputError: It has no labels.
    """
    train = dataset["train"]
    if train.labels is None:
        raise InputError(f"`train` of {dataset.name!r} has no labels.")
    return train
