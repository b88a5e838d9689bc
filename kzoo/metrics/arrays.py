"""Scores as plain functions of numpy arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def confusion_matrix(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, num_classes: int | None = None
) -> npt.NDArray[np.int64]:
    """Count each pair of true and predicted class.

    Args:
        y_true: int (n,), true class ids.
        y_pred: int (n,), predicted class ids.
        num_classes: size of the matrix. Default: the largest id plus one.

    Returns:
        int64 (num_classes, num_classes): true classes in rows, predicted classes in columns.

    Raises:
        ValueError: if the arrays differ in shape, are empty, are not integer ids, or hold an id
            outside 0 to `num_classes` - 1.
    """
    true, pred = _classes(y_true, y_pred)
    low, high = int(min(true.min(), pred.min())), int(max(true.max(), pred.max()))
    size = high + 1 if num_classes is None else num_classes
    if low < 0 or high >= size:
        raise ValueError(
            f"`y_true` and `y_pred` hold ids from {low} to {high}; they must be 0 to {size - 1}"
        )
    return np.bincount(true * size + pred, minlength=size * size).reshape(size, size)


def accuracy(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """The fraction of rows whose predicted class is the true one.

    Args:
        y_true: int (n,), true class ids.
        y_pred: int (n,), predicted class ids.

    Returns:
        A fraction, 0 to 1.

    Raises:
        ValueError: if the arrays differ in shape, are empty, or are not integer ids.
    """
    true, pred = _classes(y_true, y_pred)
    return float(np.mean(true == pred))


def macro_f1(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """The mean over classes of F1 = 2 TP / (2 TP + FP + FN).

    The mean is over the classes that occur in `y_true` or `y_pred`, as in scikit-learn.

    Args:
        y_true: int (n,), true class ids.
        y_pred: int (n,), predicted class ids.

    Returns:
        A fraction, 0 to 1.

    Raises:
        ValueError: if the arrays differ in shape, are empty, or are not ids from 0.
    """
    matrix = confusion_matrix(y_true, y_pred)
    total = matrix.sum(axis=0) + matrix.sum(axis=1)
    present = total > 0
    return float(np.mean(2 * np.diag(matrix)[present] / total[present]))


def binary_f1(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, positive: int = 1) -> float:
    """F1 = 2 TP / (2 TP + FP + FN) of one class.

    Args:
        y_true: int (n,), true class ids.
        y_pred: int (n,), predicted class ids.
        positive: the class that is scored. Default 1.

    Returns:
        A fraction, 0 to 1; 0 if the class occurs in neither.

    Raises:
        ValueError: if the arrays differ in shape, are empty, or are not integer ids.
    """
    true, pred = _classes(y_true, y_pred)
    hits = int(np.sum((true == positive) & (pred == positive)))
    total = int(np.sum(true == positive) + np.sum(pred == positive))
    return 2 * hits / total if total else 0.0


def pearson(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Pearson's linear correlation.

    Args:
        x: float (n,), n >= 2.
        y: float (n,).

    Returns:
        A number from -1 to 1; NaN if `x` or `y` is constant, where it is undefined.

    Raises:
        ValueError: if the arrays differ in shape, have fewer than 2 rows, or are not finite.
    """
    a, b = _scores(x, "x"), _scores(y, "y")
    if a.shape != b.shape or len(a) < 2:
        raise ValueError(
            f"`x` and `y` must be 1-D, equally long and have 2 or more rows, received {a.shape} "
            f"and {b.shape}"
        )
    # Before centring: rounding makes the centred values of a constant tiny instead of zero.
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    value = float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))
    return min(1.0, max(-1.0, value))


def spearman(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Spearman's rank correlation; equal values share the mean of their ranks.

    Args:
        x: float (n,), n >= 2.
        y: float (n,).

    Returns:
        A number from -1 to 1; NaN if `x` or `y` is constant, where it is undefined.

    Raises:
        ValueError: if the arrays differ in shape, have fewer than 2 rows, or are not finite.
    """
    return pearson(_ranks(_scores(x, "x")), _ranks(_scores(y, "y")))


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_rank: npt.NDArray[np.float64] = last - (counts - 1) / 2
    return mean_rank[group]


def _classes(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    true, pred = np.asarray(y_true), np.asarray(y_pred)
    if true.ndim != 1 or true.shape != pred.shape or not true.size:
        raise ValueError(
            f"`y_true` and `y_pred` must be 1-D, equally long and not empty, received {true.shape} "
            f"and {pred.shape}"
        )
    for name, array in (("y_true", true), ("y_pred", pred)):
        if array.dtype.kind not in "iub":
            raise ValueError(f"`{name}` must hold integer class ids, received dtype {array.dtype}")
    return true.astype(np.int64), pred.astype(np.int64)


def _scores(values: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError(
            f"`{name}` must be 1-D and finite, received shape {array.shape} with "
            f"{int((~np.isfinite(array)).sum())} values that are not"
        )
    return array
