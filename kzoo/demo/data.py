"""The documents of the demo, whole or a stratified part of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kzoo.datasets import Dataset, Split, load

DATASET = "python-docs"


def load_data(rows: int | None, seed: int) -> tuple[Dataset, str | None]:
    """Loads the data set.

    Args:
        rows: Training rows, drawn so that every class keeps its share; validation and test shrink
            in the same proportion, but not below two rows a class. None for all.
        seed: Decides the rows.

    Returns:
        The data set, and a sentence on what was left out (None where nothing was).
    """
    dataset = load(DATASET)
    whole = len(dataset["train"])
    if rows is None or rows >= whole:
        return dataset, None
    least = 2 * len(dataset.label_names or [])
    splits = {}
    for name, split in dataset.splits.items():
        n = rows if name == "train" else max(least, round(len(split) * rows / whole))
        splits[name] = split.take(min(n, len(split)), seed=seed)
    counts = {name: len(split) for name, split in splits.items()}
    part = replace(dataset, splits=splits, card=replace(dataset.card, counts=counts))
    sizes = ", ".join(
        f"{counts[name]:,} of {len(split):,} {name} rows" for name, split in dataset.splits.items()
    )
    return part, f"Only a part of the documents, every chapter in proportion: {sizes}."


def class_ids(split: Split) -> NDArray[np.int64]:
    """The labels of a split, int64 (n,)."""
    return np.asarray(split.labels, dtype=np.int64)
