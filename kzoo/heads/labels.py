"""Label names and ids: the map that is saved with the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.errors import InputError


def find_labels(column: NDArray[Any], names: Sequence[str] | None) -> tuple[str, ...] | int:
    """What a label column says about the classes.

    Args:
        column: n ints or strings.
        names: Names that integer labels index into, where the data have them.

    Returns:
        The label names in sorted order (or `names`), or for bare integers their number, max + 1.

    Raises:
        InputError: Floats that are not whole, negative ints, or one class only.
    """
    column = _clean(column)
    distinct = sorted(set(column.tolist()))
    if len(distinct) < 2:
        raise InputError(
            f"`y` has one class only: {distinct[0]!r} in all {len(column)} rows. A classifier "
            "needs at least two."
        )
    if names is not None:
        return tuple(names)
    if column.dtype.kind == "U":
        return tuple(distinct)
    return int(distinct[-1]) + 1


def to_ids(
    column: NDArray[Any],
    labels: Sequence[str] | None,
    num_classes: int,
    names: Sequence[str] | None = None,
) -> NDArray[np.int32]:
    """Maps a label column to class ids.

    Args:
        column: n ints or strings.
        labels: The model's label names, or None for a model that was trained on bare ints.
        num_classes: The model's classes.
        names: Names that integer labels index into, where the data have them.

    Returns:
        int32 (n,).

    Raises:
        InputError: A label that the model has never seen; the label and a row are named.
    """
    column = _clean(column)
    renamed = names is not None and labels is not None and tuple(names) != tuple(labels)
    if renamed and column.dtype.kind != "U":
        column = np.asarray(names, dtype=str)[column]
    if column.dtype.kind == "U":
        if labels is None:
            raise InputError(
                "`y` holds strings, but the model was made for integer labels 0 to "
                f"{num_classes - 1}. Pass `labels=[...]` to kzoo.load."
            )
        ids = {label: i for i, label in enumerate(labels)}
        for row, label in enumerate(column.tolist()):
            if label not in ids:
                raise InputError(
                    f"`y` row {row} is {label!r}, a label never seen in training. "
                    f"Labels of the model: {_short(labels)}."
                )
        return np.asarray([ids[label] for label in column.tolist()], "int32")
    bad = np.flatnonzero((column < 0) | (column >= num_classes))
    if len(bad):
        raise InputError(
            f"`y` row {bad[0]} is {column[bad[0]]}, but the model has classes 0 to "
            f"{num_classes - 1}: a label never seen in training. Pass `num_classes=` to kzoo.load "
            "where the data have more classes."
        )
    return column.astype("int32")


def _clean(column: NDArray[Any]) -> NDArray[Any]:
    column = np.asarray(column)
    if column.dtype.kind in "SO":
        column = np.asarray(
            [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in column.tolist()]
        )
    if column.dtype.kind == "b":
        column = column.astype("int32")
    if column.dtype.kind == "f" and np.all(column == np.floor(column)):
        column = column.astype("int64")
    if column.dtype.kind not in "iuU":
        raise InputError(
            "`y` must hold whole numbers or strings. "
            f"Received: {column.dtype} such as {column[0]!r}"
        )
    if column.dtype.kind in "iu" and len(column) and column.min() < 0:
        raise InputError(f"`y` must not be negative. Received: {column.min()}")
    return column


def _short(labels: Sequence[str]) -> str:
    shown = ", ".join(labels[:10])
    return shown if len(labels) <= 10 else f"{shown}, ... ({len(labels)} in all)"
