"""From label values as they stand in files to class ids or scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kzoo.datasets.errors import DatasetError
from kzoo.datasets.split import Labels

_SHOWN = 5


@dataclass(frozen=True)
class Encoded:
    """Labels of all splits.

    Args:
        labels: by split, int32 class ids or float32 scores; None for a split without labels.
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
) -> Encoded:
    """Turn label values into ids or scores.

    Values are classes, named in the order of the integers or else of the strings, unless `task`
    says regression, or `task` is None and the column is called a score or holds a fraction.

    Args:
        values: raw labels by split: all str (from text files), or int, float, bool (from JSON).
        task: ``"classification"``, ``"regression"`` or None to decide from the values.
        score_column: whether the name of the column is that of a score.
        allow_unseen: accept classes outside ``train`` that ``train`` does not have.

    Returns:
        The labels.

    Raises:
        DatasetError: if strings and numbers are mixed, a score is not a number, or a class does not
            occur in ``train``.
    """
    flat = [value for split in values.values() if split is not None for value in split]
    numbers = _numbers(flat)
    fractional = numbers is not None and any(not number.is_integer() for number in numbers)
    if task == "regression" or (task is None and (score_column or fractional)):
        return Encoded({name: _scores(split, name) for name, split in values.items()}, None)
    # "07" and "7" are different strings, but the same class once a whole column is integers.
    integers = numbers is not None and not fractional
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


def _numbers(values: Sequence[Any]) -> list[float] | None:
    """The values as numbers, or None if one of them is not a finite number."""
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def _key(value: Any, integers: bool) -> int | str:
    if integers:
        return int(float(value)) if isinstance(value, (str, float)) else int(value)
    return int(value) if isinstance(value, int) else str(value)


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
