"""A data set from a file, or from a folder with one file per split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kzoo.datasets.card import Card, SkipLog
from kzoo.datasets.columns import Options, Roles, find_roles, is_score
from kzoo.datasets.dataset import Dataset, canonical_split
from kzoo.datasets.labels import encode
from kzoo.datasets.rows import SUFFIXES, Row, read_rows, suffix_of
from kzoo.datasets.split import Split
from kzoo.errors import DatasetError

_ORDER = ("train", "validation", "test")
_OPTIONS = (
    "text_column",
    "pair_column",
    "label_column",
    "labelled",
    "task",
    "label_separator",
    "allow_unseen_labels",
    "strict",
    "encoding",
    "columns",
    "quoting",
)


@dataclass
class _Columns:
    texts: list[str]
    pairs: list[str] | None
    labels: list[Any] | None
    ids: list[str] | None


def load_path(path: Path, options: Options) -> Dataset:
    """Read a file (one split, ``train``) or a folder (``train.*``, ``validation.*``, ``test.*``).

    Args:
        path: an existing file or folder.
        options: how to read it.

    Returns:
        The dataset; its card counts the rows left out.

    Raises:
        DatasetError: see `kzoo.datasets.load`.
    """
    options.refuse_others(_OPTIONS, f"the files of {str(path)!r}")
    files = split_files(path)
    log = SkipLog(options.strict)
    notes: list[str] = []
    columns: dict[str, _Columns] = {}
    roles: Roles | None = None
    for name, file in files.items():
        names, rows = read_rows(file, options, log)
        if not rows:
            left_out = f" ({log.describe()})" if len(log) else ""
            raise DatasetError(
                f"{str(file)!r} is empty: it has no usable row{left_out}; it needs at least one"
            )
        if roles is None:
            roles = find_roles(names, options, repr(file.name))
        columns[name] = _pick(rows, names, roles, file, log, options.task, len(columns) == 0)
        if not columns[name].texts:
            raise DatasetError(f"{str(file)!r} has no usable row: {log.describe()}")
        if roles.label is not None and columns[name].labels is None:
            notes.append(f"split {name!r} has no column {roles.label!r}, so it is unlabelled")
    assert roles is not None  # split_files gives at least one file
    log.warn(str(path))
    encoded = encode(
        {name: column.labels for name, column in columns.items()},
        task=options.task,
        score_column=is_score(roles.label),
        allow_unseen=options.allow_unseen_labels,
        separator=options.label_separator,
    )
    names_of = encoded.names if roles.label is not None else None
    splits = {
        name: Split(c.texts, c.pairs, encoded.labels[name], c.ids, names_of)
        for name, c in columns.items()
    }
    card = Card(
        description=f"{'Pairs' if roles.pair else 'Texts'} read from {path.name}.",
        source=str(path),
        counts={name: len(split) for name, split in splits.items()},
        skipped=log.entries(),
        columns=roles.as_dict(),
        notes=tuple(notes),
    )
    return Dataset(path.name, splits, names_of, card)


def split_files(
    path: Path, suffixes: Sequence[str] = SUFFIXES, inside: str | None = None
) -> dict[str, Path]:
    """The files of a data set by split.

    Args:
        path: a file, which is ``train``, or a folder with one for each split.
        suffixes: those of files that can be read.
        inside: a file that makes a folder a split. Default: no folder is one.

    Raises:
        DatasetError: there is no split, or two of one name.
    """
    if inside is not None and (path / inside).is_file():
        return {"train": path}
    if path.is_file():
        if suffix_of(path, suffixes) is None:
            raise DatasetError(
                f"`name_or_path` {str(path)!r} has no known suffix; use one of "
                f"{', '.join(suffixes)}. Tagged words and answers in texts (.conll, .json and "
                "others) are read with `task='tag'` or `task='span'`"
            )
        return {"train": path}
    found: dict[str, Path] = {}
    for file in sorted(path.iterdir()):
        suffix = suffix_of(file, suffixes)
        if inside is not None and (file / inside).is_file():
            suffix = ""
        if suffix is None:
            continue
        name = canonical_split(file.name[: len(file.name) - len(suffix)].lower())
        if name not in _ORDER:
            continue
        if name in found:
            raise DatasetError(
                f"{found[name].name!r} and {file.name!r} in {str(path)!r} are both the "
                f"{name!r} split; keep one of them"
            )
        found[name] = file
    if not found:
        there = ", ".join(repr(file.name) for file in sorted(path.iterdir())[:10]) or "nothing"
        raise DatasetError(
            f"`name_or_path` {str(path)!r} has no split: it must hold train.*, validation.* (or "
            f"dev.*, val.*) or test.* with a suffix among {', '.join(suffixes)}; found {there}"
        )
    return {name: found[name] for name in _ORDER if name in found}


def _pick(
    rows: list[Row],
    names: list[str],
    roles: Roles,
    file: Path,
    log: SkipLog,
    task: str | None,
    is_first: bool,
) -> _Columns:
    wanted = [name for name in (roles.text, roles.pair) if name is not None]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise DatasetError(
            f"{str(file)!r} lacks column {missing[0]!r}, which the first split has; columns found: "
            + ", ".join(repr(name) for name in names)
        )
    # A test file without labels is common; a first file without them was refused by find_roles.
    label = roles.label if is_first or roles.label in names else None
    out = _Columns(
        texts=[],
        pairs=None if roles.pair is None else [],
        labels=None if label is None else [],
        ids=None if roles.ids is None or roles.ids not in names else [],
    )
    for row in rows:
        fault = next((f for name in wanted if (f := text_fault(row.values.get(name), name))), None)
        value = None if label is None else row.values.get(label)
        fault = fault or (None if label is None else _label_fault(value, label, task))
        if fault:
            log.add(fault, row.where)
            continue
        out.texts.append(row.values[roles.text])
        if out.pairs is not None:
            out.pairs.append(row.values[str(roles.pair)])
        if out.labels is not None:
            out.labels.append(value.strip() if isinstance(value, str) else value)
        if out.ids is not None:
            # A row without an identifier is still a usable row: its place identifies it.
            identifier = row.values.get(str(roles.ids))
            out.ids.append(row.where if identifier is None else str(identifier))
    return out


def text_fault(value: Any, column: str) -> str | None:
    """Why a value cannot be a text, or None."""
    if value is None or value == "":
        return f"no text in {column!r}"
    if not isinstance(value, str):
        return f"{column!r} is not a string"
    return None if value.strip() else f"no text in {column!r}"


def _label_fault(value: Any, column: str, task: str | None) -> str | None:
    # A row of label sets may have none, which a text file can only say with an empty field.
    empty = isinstance(value, str) and not value.strip() and task != "multilabel"
    if value is None or empty or value != value:
        return f"no label in {column!r}"
    if isinstance(value, list):
        plain = all(isinstance(v, (str, int, float)) and v == v for v in value)
        return None if plain else f"label in {column!r} is no list of strings"
    if not isinstance(value, (str, int, float)):
        return f"label in {column!r} is neither a string nor a number"
    return None
