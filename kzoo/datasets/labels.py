"""From label values as they stand in files to class ids, label sets or scores."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from kzoo.datasets.split import Labels
from kzoo.errors import DatasetError

_SHOWN = 5
_INTEGER = re.compile("-?(0|[1-9][0-9]*)")


@dataclass(frozen=True)
class Encoded:
    """Labels of all splits.

    Args:
        labels: by split, int32 class ids, int8 matrices or float32 scores; None for a split
            without labels.
        names: class names by id, or None for scores.
    """

    labels: dict[str, Labels | None]
    names: list[str] | None


def encode(
    values: dict[str, Sequence[Any] | None],
    *,
    task: str | None,
    score_column: bool,
    allow_unseen: bool,
    separator: str = "|",
) -> Encoded:
    """Turn label values into ids, label sets or scores.

    Values are classes, named in the order of the integers or else of the strings, unless `task`
    says otherwise, or `task` is None and a value is a list (label sets), or the column is called a
    score or holds a fraction (regression).

    Args:
        values: raw labels by split: all str (from text files), or int, float, bool, list (from
            JSON).
        task: ``"classification"``, ``"regression"``, ``"multilabel"`` or None to decide from the
            values.
        score_column: whether the name of the column is that of a score.
        allow_unseen: accept classes outside ``train`` that ``train`` does not have.
        separator: between the labels of a set that is written as a string.

    Returns:
        The labels.

    Raises:
        DatasetError: if strings and numbers are mixed, a score is not a number, or a class does not
            occur in ``train``.
    """
    flat = [value for split in values.values() if split is not None for value in split]
    if task == "multilabel" or (task is None and any(isinstance(v, list) for v in flat)):
        return _label_sets(values, separator, allow_unseen)
    if wrong := [value for value in flat if isinstance(value, list)]:
        raise DatasetError(
            f"label {wrong[0]!r} is a list, and {task} needs one label a row; give "
            "`task='multilabel'` for several"
        )
    numbers = _numbers(flat)
    fractional = numbers is not None and any(not number.is_integer() for number in numbers)
    if task == "regression" or (task is None and (score_column or fractional)):
        return Encoded({name: _scores(split, name) for name, split in values.items()}, None)
    # "07" and "1_1" are names: only what is written as an integer is written is one.
    written = all(_INTEGER.fullmatch(value) for value in flat if isinstance(value, str))
    integers = numbers is not None and not fractional and written
    keyed: dict[str, list[Any] | None] = {
        name: None if split is None else [_key(value, integers) for value in split]
        for name, split in values.items()
    }
    classes = {key for split in keyed.values() if split is not None for key in split}
    if len({type(key) for key in classes}) > 1:
        number = next(key for key in classes if isinstance(key, int))
        word = next(key for key in classes if isinstance(key, str))
        raise DatasetError(
            f"labels mix strings ({word!r}) and numbers ({number!r}); write all of them one way"
        )
    if not allow_unseen:
        _refuse_unseen(keyed)
    ordered = sorted(classes)
    ids = {key: i for i, key in enumerate(ordered)}
    labels: dict[str, Labels | None] = {
        name: None if split is None else np.array([ids[key] for key in split], dtype=np.int32)
        for name, split in keyed.items()
    }
    return Encoded(labels, [str(key) for key in ordered])


def _label_sets(
    values: dict[str, Sequence[Any] | None], separator: str, allow_unseen: bool
) -> Encoded:
    sets = {
        name: None if split is None else [_set(value, separator) for value in split]
        for name, split in values.items()
    }
    keyed = {
        name: None if split is None else [label for own in split for label in own]
        for name, split in sets.items()
    }
    if not allow_unseen:
        _refuse_unseen(keyed)
    names = sorted({label for split in keyed.values() for label in split or ()})
    if all(name.isdigit() for name in names):
        names.sort(key=int)
    if not names and any(split is not None for split in sets.values()):
        raise DatasetError("no row has a label; every set of labels is empty")
    ids = {label: i for i, label in enumerate(names)}
    labels: dict[str, Labels | None] = {}
    for name, split in sets.items():
        if split is None:
            labels[name] = None
            continue
        matrix = np.zeros((len(split), len(names)), dtype=np.int8)
        for row, own in zip(matrix, split, strict=True):
            row[[ids[label] for label in own]] = 1
        labels[name] = matrix
    return Encoded(labels, names)


def _set(value: Any, separator: str) -> list[str]:
    """The labels in a value: a list, a JSON list as a string, or names with separators between."""
    if isinstance(value, str) and value.startswith("["):
        with suppress(ValueError):  # a name that begins so
            value = json.loads(value)
    if isinstance(value, list) and len(set(map(str, value))) < len(value):
        raise DatasetError(
            f"label list {value!r} names a label twice. If it is a row of zeros and ones: a file "
            "holds the names of a row's labels"
        )
    parts = value.split(separator) if isinstance(value, str) else value
    found = [str(part).strip() for part in (parts if isinstance(parts, list) else [parts])]
    return [label for label in found if label]


def _numbers(values: Sequence[Any]) -> list[float] | None:
    """The values as numbers, or None if one of them is not a finite number."""
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def _key(value: Any, integers: bool) -> int | str:
    return int(value) if integers or isinstance(value, int) else str(value)


def _scores(values: Sequence[Any] | None, split: str) -> Labels | None:
    if values is None:
        return None
    numbers = _numbers(values)
    if numbers is None:
        wrong = next(value for value in values if _numbers([value]) is None)
        raise DatasetError(
            f"label {wrong!r} in split {split!r} is not a finite number, as regression needs; "
            "correct it, or give `task='classification'`"
        )
    return np.array(numbers, dtype=np.float32)


def _refuse_unseen(keyed: dict[str, list[Any] | None]) -> None:
    train = keyed.get("train")
    if train is None:
        return
    known = set(train)
    for name, split in keyed.items():
        unseen = sorted({key for key in split or () if key not in known}, key=str)
        if unseen:
            shown = ", ".join(repr(key) for key in unseen[:_SHOWN])
            more = f" and {len(unseen) - _SHOWN} more" if len(unseen) > _SHOWN else ""
            raise DatasetError(
                f"labels in split {name!r} that never occur in 'train': {shown}{more}; a model "
                "cannot learn them. Correct the files, or give `allow_unseen_labels=True`"
            )
