"""Rows held out of the training data, and labels read off a stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kzoo.errors import InputError
from kzoo.models.inputs import Rows


def hold_out(rows: Rows | None, share: float) -> tuple[Any, Any, Any, Any]:
    """Takes the last rows away for validation.

    Args:
        rows: Texts with labels.
        share: Share of the rows to hold out.

    Returns:
        texts, labels and weights that are left, and (texts, labels[, weights]) held out.

    Raises:
        InputError: No labels, or a share that leaves no rows on one side.
    """
    if rows is None or rows.labels is None:
        raise InputError("`validation_split` needs texts in memory, with labels.")
    n = len(rows.texts)
    cut = n - int(n * share)
    if not 0 < cut < n:
        raise InputError(f"`validation_split` {share} leaves no rows on one side of {n} texts.")
    labels = np.asarray(rows.labels)
    if rows.names is not None:
        labels = np.asarray(rows.names, dtype=str)[labels]
    w = rows.weights
    validation = (rows.texts[cut:], labels[cut:], *([] if w is None else [w[cut:]]))
    return rows.texts[:cut], labels[:cut], None if w is None else w[:cut], validation


def stream_labels(dataset: Any) -> NDArray[Any]:
    """All labels of a `tf.data.Dataset` of (text, label), in one pass.

    Raises:
        InputError: No labels, no rows, or no end.
    """
    if not isinstance(dataset.element_spec, tuple) or len(dataset.element_spec) < 2:
        raise InputError("`x` as a tf.data.Dataset must yield (text, label) for fit.")
    cardinality = int(dataset.cardinality())
    if cardinality == tf.data.INFINITE_CARDINALITY:
        raise InputError("`num_classes` must be passed to kzoo.load for an endless dataset.")
    columns = [np.atleast_1d(y) for y in dataset.map(lambda x, y, *_: y).as_numpy_iterator()]
    if not columns:
        raise InputError("`x` is empty. At least one text of each class is needed.")
    return np.concatenate(columns)
