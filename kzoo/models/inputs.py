"""The forms in which users pass texts and labels, made one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.backbones.text import TextRow, check_rows
from kzoo.errors import InputError


@dataclass(frozen=True)
class Rows:
    """Texts with what goes along.

    Args:
        texts: n strings or pairs.
        labels: n ints or strings, or None.
        names: Label names where integer labels index into names, or None.
        weights: float (n,), or None.
    """

    texts: list[TextRow]
    labels: list[Any] | NDArray[Any] | None = None
    names: tuple[str, ...] | None = None
    weights: NDArray[Any] | None = None


def rows_of(x: Any, y: Any = None, sample_weight: Any = None) -> Rows | None:
    """Reads texts in any accepted form; None where x is not text at all.

    Raises:
        InputError: Text of a wrong kind, or columns of different lengths.
    """
    names = None
    if hasattr(x, "inputs") and hasattr(x, "labels") and not hasattr(x, "layers"):
        # A split of kzoo.datasets, which carries its labels.
        names = tuple(x.label_names) if getattr(x, "label_names", None) else None
        y = x.labels if y is None else y
        x = x.inputs
    if not _looks_like_text(x):
        return None
    texts = check_rows(x)
    labels = None if y is None else _column(y, len(texts), "y")
    weights = None if sample_weight is None else np.asarray(sample_weight)
    if weights is not None and weights.shape != (len(texts),):
        raise InputError(
            f"`sample_weight` must have shape ({len(texts)},). Received: {weights.shape}"
        )
    return Rows(texts, labels, names, weights)


def _column(y: Any, n: int, name: str) -> Any:
    column = np.asarray(y)
    if column.ndim == 2 and column.shape[1] == 1:
        column = column[:, 0]
    if column.ndim != 1 or len(column) != n:
        raise InputError(
            f"`{name}` must have one label for each of the {n} texts. "
            f"Received shape: {column.shape}"
        )
    return column


def _looks_like_text(x: Any) -> bool:
    if isinstance(x, np.ndarray):
        return x.dtype.kind in "US" or (x.dtype.kind == "O" and x.size > 0 and _is_str(x.flat[0]))
    if isinstance(x, str):
        return True  # check_rows explains
    if not isinstance(x, (list, tuple)):
        return False
    if len(x) == 0:
        return True
    first = x[0]
    while isinstance(first, (list, tuple, np.ndarray)) and len(first):
        first = first[0]
    return _is_str(first)


def _is_str(value: Any) -> bool:
    return isinstance(value, (str, bytes))
