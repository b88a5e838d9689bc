"""One split of a dataset: parallel columns of texts, labels and ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from kzoo.errors import DatasetError

Labels = (
    npt.NDArray[np.int32] | npt.NDArray[np.float32] | npt.NDArray[np.int8] | npt.NDArray[np.object_]
)


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Parallel columns; row i of each belongs together.

    Args:
        texts: the texts; or lists of words, where the labels are tags.
        text_pairs: the second text of each row, or its candidates, or None (default).
        labels: class ids into `label_names` (stored as int32), scores (stored as float32), a
            matrix (rows, classes) of 0, 1 and -1 (not known) where a row may have several labels
            (stored as int8), or None (default) if the split is unlabelled. A list is converted.
            An array of objects holds annotations of the texts: tags, entities, answers, or of
            which of their candidates are right.
        ids: an identifier per row, or None (default).
        label_names: class names, or None (default) for scores and unlabelled data.

    Raises:
        DatasetError: if columns differ in length, or a class has no name.
    """

    texts: list[Any]
    text_pairs: list[Any] | None = None
    labels: Labels | None = None
    ids: list[str] | None = None
    label_names: list[str] | None = None

    def __post_init__(self) -> None:
        if self.labels is not None:
            object.__setattr__(self, "labels", _as_labels(self.labels))
        for name in ("text_pairs", "labels", "ids"):
            column = getattr(self, name)
            if column is not None and len(column) != len(self.texts):
                raise DatasetError(
                    f"`{name}` has {len(column)} rows and `texts` has {len(self.texts)}; "
                    "they must be equal"
                )
        if self.label_names is not None and self.labels is not None and len(self.labels):
            if self.has_label_sets:
                if self.labels.shape[1] != len(self.label_names):
                    raise DatasetError(
                        f"`labels` has {self.labels.shape[1]} columns and `label_names` has "
                        f"{len(self.label_names)} names; they must be equal"
                    )
                return
            if self.is_regression:
                raise DatasetError(
                    "`label_names` go with integer class ids, and `labels` are floats; "
                    "leave `label_names` out for scores"
                )
            low, high = int(self.labels.min()), int(self.labels.max())
            if low < 0 or high >= len(self.label_names):
                raise DatasetError(
                    f"`labels` range from {low} to {high}, but `label_names` has "
                    f"{len(self.label_names)} names: ids must be 0 to {len(self.label_names) - 1}"
                )

    @property
    def is_regression(self) -> bool:
        """Whether the labels are scores rather than classes."""
        return self.labels is not None and self.labels.dtype.kind == "f"

    @property
    def is_annotated(self) -> bool:
        """Whether the labels are annotations of each row: tags, answers, relevances."""
        return self.labels is not None and self.labels.dtype.kind == "O"

    @property
    def has_label_sets(self) -> bool:
        """Whether a row may have several labels, or none: `labels` is a matrix."""
        return self.labels is not None and self.labels.ndim == 2

    @property
    def num_classes(self) -> int | None:
        """Number of classes the labels are drawn from, None without class names."""
        return None if self.label_names is None else len(self.label_names)

    @property
    def inputs(self) -> list[Any]:
        """What a model takes: strings, or (first, second) tuples if there are pairs."""
        if self.text_pairs is None:
            return self.texts
        return list(zip(self.texts, self.text_pairs, strict=True))

    @property
    def label_strings(self) -> list[str]:
        """The class name of every row.

        Raises:
            DatasetError: if the split has no classes.
        """
        if self.labels is None or self.label_names is None:
            raise DatasetError("`label_strings` needs class labels, and this split has none")
        if self.has_label_sets:
            raise DatasetError("`label_strings` needs one label a row; `split[i]` has all of row i")
        return [self.label_names[int(label)] for label in self.labels]

    @property
    def class_counts(self) -> dict[str, int] | None:
        """Rows per class name, classes that do not occur included; None without classes."""
        if self.labels is None or self.label_names is None:
            return None
        if self.has_label_sets:
            counts = (self.labels > 0).sum(axis=0)
        else:
            counts = np.bincount(self.labels.astype(np.int64), minlength=len(self.label_names))
        return {name: int(n) for name, n in zip(self.label_names, counts, strict=True)}

    def __len__(self) -> int:
        return len(self.texts)

    @overload
    def __getitem__(self, key: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, key: slice | Sequence[int] | npt.NDArray[Any]) -> Split: ...
    def __getitem__(
        self, key: int | slice | Sequence[int] | npt.NDArray[Any]
    ) -> dict[str, Any] | Split:
        """One row as a dict, or the rows of a slice, a list of positions or a boolean mask."""
        if isinstance(key, (int, np.integer)):
            return self._row(int(key))
        rows = np.arange(len(self))[key]
        return Split(
            [self.texts[i] for i in rows],
            None if self.text_pairs is None else [self.text_pairs[i] for i in rows],
            None if self.labels is None else self.labels[rows],
            None if self.ids is None else [self.ids[i] for i in rows],
            self.label_names,
        )

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self._row(i) for i in range(len(self)))

    def _row(self, i: int) -> dict[str, Any]:
        row: dict[str, Any] = {"text": self.texts[i]}
        if self.text_pairs is not None:
            row["pair"] = self.text_pairs[i]
        if self.labels is not None and self.has_label_sets:
            own = np.flatnonzero(self.labels[i] > 0).tolist()
            row["label"] = own if self.label_names is None else [self.label_names[j] for j in own]
        elif self.labels is not None:
            label = self.labels[i]
            row["label"] = label if self.is_annotated else label.item()
        if self.ids is not None:
            row["id"] = self.ids[i]
        return row

    def take(self, n: int, per_class: bool = False, seed: int = 0) -> Split:
        """A random sample, the rows in their original order: the rows that `sample` chooses.

        Args:
            n: see `sample`.
            per_class: see `sample`. Default False.
            seed: seed of the choice. Default 0.

        Returns:
            The sample.

        Raises:
            DatasetError: see `sample`.
        """
        return self[self.sample(n, per_class, seed)]

    def sample(self, n: int, per_class: bool = False, seed: int = 0) -> Index:
        """Choose rows at random.

        Args:
            n: rows to take: in all, or of every class that occurs if `per_class`.
            per_class: the few-shot sample of `n` rows a class. Default False: `n` rows in all, in
                which every class keeps its share (scores, label sets, annotations, unlabelled: any
                `n` rows).
            seed: seed of the choice. Default 0.

        Returns:
            int64, ascending row numbers.

        Raises:
            DatasetError: if there are not that many rows, or `per_class` without classes.
        """
        if n < 1:
            raise DatasetError(f"`n` must be at least 1, received {n}")
        several = self.is_regression or self.is_annotated or self.has_label_sets
        classes = None if several else self.labels
        if per_class:
            if classes is None:
                raise DatasetError("`per_class=True` needs class labels, and this split has none")
            names = self.label_names or [str(i) for i in range(int(classes.max()) + 1)]
            return rows_per_class(classes.astype(np.int32), n, names, seed)
        if n > len(self):
            raise DatasetError(f"`n` = {n} rows were asked for, but the split has {len(self)}")
        if classes is None:
            return uniform(len(self), n, seed)
        return proportional(classes.astype(np.int32), n, seed)

    def __repr__(self) -> str:
        parts = [f"{len(self)} rows"]
        if self.text_pairs is not None:
            parts.append("pairs")
        if self.labels is None:
            parts.append("unlabelled")
        elif self.is_regression:
            parts.append("scores")
        elif self.is_annotated:
            parts.append("annotated")
        elif self.has_label_sets:
            parts.append(f"sets of {self.labels.shape[1]} labels")
        elif self.label_names is not None:
            parts.append(f"{len(self.label_names)} classes")
        return f"Split({', '.join(parts)})"


def _as_labels(labels: Any) -> Labels:
    array = np.asarray(labels)
    if array.ndim == 1 and array.dtype.kind == "O":
        return array
    if array.ndim == 2 and array.dtype.kind in "iufb":
        if not np.isin(array, (-1, 0, 1)).all():
            raise DatasetError("`labels` as a matrix must hold 0, 1, and -1 for what is not known")
        return array.astype(np.int8)
    if array.ndim != 1 or array.dtype.kind not in "iufb":
        raise DatasetError(
            f"`labels` must be one integer class id or one float score per row, or a matrix, "
            f"received shape {array.shape} and dtype {array.dtype}"
        )
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    return array.astype(np.int32)


Index = npt.NDArray[np.int64]


def rows_per_class(labels: npt.NDArray[np.int32], n: int, names: list[str], seed: int) -> Index:
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
