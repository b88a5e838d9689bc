"""Label names and ids: the map that is saved with the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.errors import InputError


def find_labels(column: NDArray[Any], names: Sequence[str] | None) -> tuple[str, ...] | int:
    """What a label column says about the classes.

    Integers that fill at least half of 0 ... max are ids, and there are max + 1 classes; others,
    such as years or ratings from 1 to 5, are names.

    Args:
        column: n ints or strings, or one-hot rows (n, classes).
        names: Names that integer labels index into, where the data have them.

    Returns:
        The label names in sorted order (or `names`), or for ids the number of classes.

    Raises:
        InputError: Floats that are not whole, a missing label, or one class only.
    """
    given = np.asarray(column)
    column = _clean(given)
    distinct = sorted(set(column.tolist()))
    if len(distinct) < 2:
        raise InputError(
            f"`y` has one class only: {distinct[0]!r} in all {len(column)} rows. A classifier "
            "needs at least two."
        )
    if names is not None:
        return tuple(names)
    if given.ndim == 2:
        return int(given.shape[1])
    if column.dtype.kind == "U":
        return tuple(distinct)
    if distinct[0] == 0 and 2 * len(distinct) > distinct[-1]:
        return int(distinct[-1]) + 1
    return tuple(str(value) for value in distinct)


def to_ids(
    column: NDArray[Any],
    labels: Sequence[str] | None,
    num_classes: int,
    names: Sequence[str] | None = None,
    numbers: bool = False,
) -> NDArray[np.int32]:
    """Maps a label column to class ids.

    Args:
        column: n ints or strings, or one-hot rows (n, classes).
        labels: The model's label names, or None for a model that was trained on bare ints.
        num_classes: The model's classes.
        names: Names that integer labels index into, where the data have them.
        numbers: Whether the model's labels are integers as they stand in columns, and not ids.

    Returns:
        int32 (n,).

    Raises:
        InputError: A label that the model has never seen; the label and a row are named.
    """
    column = _clean(column)
    renamed = names is not None and labels is not None and tuple(names) != tuple(labels)
    if renamed and column.dtype.kind != "U":
        column = np.asarray(names, dtype=str)[column]
    elif numbers and column.dtype.kind != "U":
        column = column.astype(str)
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


def find_label_sets(column: NDArray[Any], names: Sequence[str] | None) -> tuple[str, ...] | int:
    """What a column of label sets says about the classes.

    Args:
        column: See `label_matrix`.
        names: Names of a matrix' columns, where the data have them.

    Returns:
        The label names in sorted order (or `names`), or for a bare matrix the number of columns.

    Raises:
        InputError: There is no label in any row, or no entry of a matrix is known.
    """
    found = _sets_or_matrix(column)
    if isinstance(found, np.ndarray):
        if not (found >= 0).any():
            raise InputError("`y` has no known entry: nothing can be learned from it.")
        _check_width(found, found.shape[1] if names is None else len(names))
        return found.shape[1] if names is None else tuple(names)
    distinct = sorted({label for row in found for label in row})
    if not distinct:
        raise InputError(f"`y` has no label in any of the {len(found)} rows.")
    return tuple(distinct)


def label_matrix(
    column: NDArray[Any],
    labels: Sequence[str] | None,
    num_classes: int,
    names: Sequence[str] | None = None,
) -> NDArray[np.int8]:
    """Maps a column of label sets to a matrix.

    Args:
        column: n lists, tuples or sets of names (or single names); or an (n, classes) matrix of 0,
            1, and -1, NaN or None for what is not known.
        labels: The model's label names, or None for a model that was trained on a bare matrix.
        num_classes: The model's classes.
        names: Names of a matrix' columns, where the data have them.

    Returns:
        int8 (n, num_classes): 1 where the row has the label, 0 where not, -1 where that is not
        known.

    Raises:
        InputError: A label that the model has never seen, another number of columns, or an entry
            that is none; the row is named.
    """
    found = _sets_or_matrix(column)
    if isinstance(found, np.ndarray):
        if names is None or labels is None or tuple(names) == tuple(labels):
            _check_width(found, num_classes)
            return found
        _check_width(found, len(names))
        matrix = np.zeros((len(found), num_classes), "int8")
        place = {label: i for i, label in enumerate(labels)}
        for name, marks in zip(names, found.T, strict=True):
            if name in place:
                matrix[:, place[name]] = marks
            elif (marks > 0).any():
                raise _unseen(int(np.argmax(marks > 0)), name, labels)
        return matrix
    if labels is None:
        raise InputError(
            f"`y` holds names, but the model was made for a matrix of {num_classes} columns. Pass "
            "`labels=[...]` to kzoo.load."
        )
    matrix = np.zeros((len(found), num_classes), "int8")
    ids = {label: i for i, label in enumerate(labels)}
    for row, own in enumerate(found):
        for label in own:
            if label not in ids:
                raise _unseen(row, label, labels)
            matrix[row, ids[label]] = 1
    return matrix


def named_sets(matrix: NDArray[Any], names: Sequence[str]) -> NDArray[Any]:
    """Rows of a matrix as n lists of names, which need the list of names no longer.

    Raises:
        InputError: An entry is not known, which a list cannot say.
    """
    if (matrix < 0).any():
        raise InputError("`validation_split` knows no missing labels. Pass `validation_data`.")
    rows = [[names[i] for i in np.flatnonzero(row).tolist()] for row in matrix]
    return np.fromiter(rows, object, len(rows))


def _check_width(matrix: NDArray[Any], number: int) -> None:
    if matrix.shape[1] != number:
        raise InputError(
            f"`y` must have {number} columns, one a class. Received shape: {matrix.shape}"
        )


def _sets_or_matrix(column: NDArray[Any]) -> list[list[str]] | NDArray[np.int8]:
    """Names of each row, or an int8 matrix with -1 for what is not known."""
    column = np.asarray(column)
    if column.dtype == object and column.ndim == 1 and len(column):
        rows = [list(v) if isinstance(v, (list, tuple, np.ndarray)) else v for v in column.tolist()]
        if all(isinstance(row, list) and len(row) == len(rows[0]) for row in rows):
            column = np.asarray(rows)
    if column.dtype == object and column.ndim == 2:
        flat = column.ravel().tolist()
        if all(v is None or isinstance(v, (int, float, np.number)) for v in flat):
            column = np.asarray([np.nan if v is None else v for v in flat]).reshape(column.shape)
    if column.dtype.kind in "biuf" and column.shape[1:] != (0,):
        matrix = column.astype("float64").reshape(len(column), -1)
        matrix = np.where(np.isnan(matrix), -1.0, matrix)
        bad = np.argwhere(~np.isin(matrix, (-1, 0, 1)))
        if len(bad):
            row, at = bad[0]
            raise InputError(
                f"`y` row {row} has {matrix[row, at]:g} in column {at}; a matrix of labels holds "
                "0, 1, and -1 or NaN for what is not known."
            )
        return matrix.astype("int8")
    return [_names_of(row, number) for number, row in enumerate(column.tolist())]


def _names_of(row: Any, number: int) -> list[str]:
    several = [row] if isinstance(row, (str, bytes)) else row
    if isinstance(several, (list, tuple, set, frozenset, np.ndarray)):
        names = [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in several]
        if all(isinstance(name, str) for name in names):
            return names
    raise InputError(
        f"`y` row {number} must be a list of label names ([] for none), or all rows a matrix of 0 "
        f"and 1. Received: {row!r:.60}"
    )


def _unseen(row: Any, label: Any, labels: Sequence[str]) -> InputError:
    return InputError(
        f"`y` row {row} has {label!r}, a label never seen in training. "
        f"Labels of the model: {_short(labels)}."
    )


def are_numbers(column: NDArray[Any]) -> bool:
    """Whether a label column holds one integer a row."""
    column = np.asarray(column)
    return column.ndim == 1 and _clean(column).dtype.kind != "U"


def _clean(column: NDArray[Any]) -> NDArray[Any]:
    """n strings or ints; class ids of one-hot rows."""
    column = np.asarray(column)
    if column.dtype.kind in "OfmM":
        missing = [row for row, value in enumerate(column.ravel().tolist()) if is_missing(value)]
        if missing and column.ndim == 1:
            more = f" ({len(missing)} rows have none)" if len(missing) > 1 else ""
            raise InputError(
                f"`y` row {missing[0]} has no label: {column[missing[0]]!r}{more}. Leave such rows "
                "out, or name their class."
            )
    if column.ndim == 2 and column.dtype.kind in "biuf":
        if (column.sum(axis=1) != 1).any() or not np.isin(column, (0, 1)).all():
            raise InputError(
                "`y` with a column for each class must be one-hot: a 1 and else 0 in each row. For "
                "probabilities use kzoo.Distiller, for several classes a row `multilabel`."
            )
        return np.asarray(column.argmax(axis=1))
    if column.dtype.kind in "SO":
        column = np.asarray(
            [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in column.tolist()]
        )
    if column.dtype.kind == "b":
        column = column.astype("int32")
    if column.dtype.kind == "f" and np.all(column == np.floor(column)):
        column = column.astype("int64")
    if column.dtype.kind not in "iuU" or column.ndim != 1:
        raise InputError(
            "`y` must hold whole numbers or strings. "
            f"Received: {column.dtype} such as {column[0]!r}"
        )
    return column


def is_missing(value: Any) -> bool:
    """Whether a value of a column says that there is none: None, NaN, NaT, pandas' NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value


def _short(labels: Sequence[str]) -> str:
    shown = ", ".join(labels[:10])
    return shown if len(labels) <= 10 else f"{shown}, ... ({len(labels)} in all)"
