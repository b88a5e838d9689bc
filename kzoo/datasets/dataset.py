"""A dataset: named splits that share their class names, and a card."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kzoo.datasets.card import Card
from kzoo.datasets.split import Split
from kzoo.errors import DatasetError

# People and libraries say these for the same three things.
_ALIASES = {"dev": "validation", "val": "validation", "valid": "validation", "training": "train"}


def canonical_split(name: str) -> str:
    """``dev``, ``val`` and ``valid`` mean ``validation``; any other name is kept.

    Args:
        name: a split name.

    Returns:
        The name under which the split is stored.
    """
    return _ALIASES.get(name, name)


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Named splits, used like a dict: ``dataset["train"]``, ``for name in dataset``.

    Args:
        name: what was loaded.
        splits: split by name.
        label_names: class names by id, or None for scores and unlabelled data.
        card: description, licence, source, counts and what was left out.

    Raises:
        DatasetError: if there is no split, or none has a row.
    """

    name: str
    splits: dict[str, Split]
    label_names: list[str] | None
    card: Card

    def __post_init__(self) -> None:
        if not any(len(split) for split in self.splits.values()):
            raise DatasetError(
                f"dataset {self.name!r} is empty; it must have at least one row in one split"
            )

    @property
    def num_classes(self) -> int | None:
        """Number of class names, None for scores and unlabelled data."""
        return None if self.label_names is None else len(self.label_names)

    def __getitem__(self, name: str) -> Split:
        key = name if name in self.splits else canonical_split(name)
        if key not in self.splits:
            raise DatasetError(
                f"`split` {name!r} is not in dataset {self.name!r}; it has "
                + ", ".join(repr(known) for known in self.splits)
            )
        return self.splits[key]

    def __contains__(self, name: object) -> bool:
        return name in self.splits or (
            isinstance(name, str) and canonical_split(name) in self.splits
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self.splits)

    def __len__(self) -> int:
        return len(self.splits)

    def items(self) -> ItemsView[str, Split]:
        """Pairs of split name and split."""
        return self.splits.items()

    def with_validation(self, fraction: float = 0.1, seed: int = 0) -> Dataset:
        """Move a random part of ``train`` into a new ``validation`` split, classes in proportion.

        Args:
            fraction: the part of the training rows to move, between 0 and 1. Default 0.1.
            seed: seed of the choice. Default 0.

        Returns:
            A new dataset; this one is unchanged.

        Raises:
            DatasetError: if there is a validation split already, no training split, or the
                fraction leaves one of the two empty.
        """
        if "validation" in self:
            raise DatasetError(f"dataset {self.name!r} has a `validation` split already")
        train = self["train"]
        size = round(len(train) * fraction)
        if not 0 < size < len(train):
            raise DatasetError(
                f"`fraction` {fraction} of {len(train)} training rows is {size} rows; "
                "both parts need at least one"
            )
        mask = np.zeros(len(train), dtype=bool)
        mask[train.sample(size, seed=seed)] = True
        splits: dict[str, Split] = {}
        for name, split in self.splits.items():
            if name == "train":
                splits |= {"train": train[~mask], "validation": train[mask]}
            else:
                splits[name] = split
        counts = {name: len(split) for name, split in splits.items()}
        note = f"`validation` is {fraction:g} of the training rows, drawn with seed {seed}"
        card = replace(self.card, counts=counts, notes=(*self.card.notes, note))
        return replace(self, splits=splits, card=card)

    def summary(self) -> dict[str, Any]:
        """Counts for a report, made of plain types only.

        Returns:
            ``{"name", "num_classes", "skipped", "splits"}``, where ``splits`` gives for each split
            ``rows``, ``pairs`` (bool) and either ``classes`` (rows per class name), ``scores``
            (``min``, ``mean``, ``max``) or neither if it is unlabelled.
        """
        return {
            "name": self.name,
            "num_classes": self.num_classes,
            "skipped": {item.reason: item.count for item in self.card.skipped},
            "splits": {name: _summary(split) for name, split in self.splits.items()},
        }

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}={len(split)}" for name, split in self.splits.items())
        classes = "" if self.label_names is None else f", {len(self.label_names)} classes"
        skipped = f", {self.card.num_skipped} left out" if self.card.skipped else ""
        return f"Dataset({self.name!r}, {sizes}{classes}{skipped})"


def _summary(split: Split) -> dict[str, Any]:
    out: dict[str, Any] = {"rows": len(split), "pairs": split.text_pairs is not None}
    if split.class_counts is not None:
        out["classes"] = split.class_counts
    elif split.labels is not None and split.is_regression and len(split):
        low, mean, high = split.labels.min(), split.labels.mean(), split.labels.max()
        out["scores"] = {"min": float(low), "mean": float(mean), "max": float(high)}
    return out
