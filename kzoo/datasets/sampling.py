"""Seeded choices of rows: so many per class, or so many in proportion to the classes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kzoo.datasets.errors import DatasetError

Index = npt.NDArray[np.int64]


def per_class(labels: npt.NDArray[np.int32], n: int, names: list[str], seed: int) -> Index:
    """Choose `n` rows of every class that occurs in `labels`.

    Args:
        labels: int32 (rows,), class ids.
        n: rows per class.
        names: class names, for the error message.
        seed: seed of the choice.

    Returns:
        int64 (n * classes,), ascending row numbers.

    Raises:
        DatasetError: if a class has fewer than `n` rows.
    """
    rng = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) < n:
            raise DatasetError(
                f"`n` = {n} rows per class were asked for, but class {names[int(label)]!r} has "
                f"{len(rows)}; use `n` <= {len(rows)}"
            )
        chosen.append(rng.choice(rows, n, replace=False))
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def proportional(labels: npt.NDArray[np.int32], n: int, seed: int) -> Index:
    """Choose `n` rows so that every class keeps its share (largest remainders).

    Args:
        labels: int32 (rows,), class ids.
        n: rows in all, at most `len(labels)`.
        seed: seed of the choice.

    Returns:
        int64 (n,), ascending row numbers.
    """
    rng = np.random.default_rng(seed)
    classes, counts = np.unique(labels, return_counts=True)
    share = n * counts / len(labels)
    quota = np.floor(share).astype(int)
    # A stable sort gives a tie to the smaller class id, so the result depends on nothing else.
    for position in np.argsort(-(share - quota), kind="stable")[: n - int(quota.sum())]:
        quota[position] += 1
    chosen = [
        rng.choice(np.flatnonzero(labels == label), size, replace=False)
        for label, size in zip(classes, quota, strict=True)
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def uniform(rows: int, n: int, seed: int) -> Index:
    """Choose `n` of `rows` row numbers, each equally likely.

    Args:
        rows: how many rows there are.
        n: how many to choose, at most `rows`.
        seed: seed of the choice.

    Returns:
        int64 (n,), ascending row numbers.
    """
    return np.sort(np.random.default_rng(seed).choice(rows, n, replace=False)).astype(np.int64)
