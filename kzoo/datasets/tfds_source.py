"""Data sets of TensorFlow Datasets, their columns found by the types of their features."""

from __future__ import annotations

from typing import Any

import numpy as np

from kzoo.datasets.card import Card, SkipLog
from kzoo.datasets.columns import Options, Roles, usual_pairs
from kzoo.datasets.dataset import Dataset
from kzoo.datasets.split import Labels, Split
from kzoo.errors import DatasetError

_OPTIONS = (
    "text_column",
    "pair_column",
    "label_column",
    "labelled",
    "strict",
    "data_dir",
    "download",
)


def load_tfds(name: str, options: Options, near: str = "") -> Dataset:
    """Load ``"name"``, ``"name/config"`` or ``"name/config:version"``.

    Args:
        name: the name TensorFlow Datasets knows.
        options: column names, `data_dir` and `download`.
        near: a hint for the message if the name is unknown.

    Returns:
        The dataset, its splits under the names they have there.

    Raises:
        DatasetError: if TensorFlow Datasets is not installed, does not know the name, cannot fetch
            the data, or the features leave open which is the text or the label.
    """
    options.refuse_others(_OPTIONS, f"the TensorFlow Datasets name {name!r}")
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise DatasetError(
            f"`name_or_path` {name!r} is neither a registered dataset nor a file{near}; if it is a "
            'TensorFlow Datasets name: pip install "kzoo[tfds]"'
        ) from None
    data_dir = None if options.data_dir is None else str(options.data_dir)
    try:
        builder = tfds.builder(name, data_dir=data_dir, try_gcs=False)
    except Exception as error:  # the library raises many unrelated classes for a wrong name
        raise DatasetError(
            f"`name_or_path` {name!r} is neither a registered dataset, nor a file, nor known to "
            f"TensorFlow Datasets{near} ({_first_line(error)})"
        ) from None
    try:
        if options.download:
            builder.download_and_prepare()
        tensors = builder.as_dataset(shuffle_files=False)
    except ModuleNotFoundError as error:
        # Many builders import a library of their own, which the package does not declare.
        raise DatasetError(
            f"TensorFlow Datasets needs the module {error.name!r} to prepare {name!r}: "
            f"pip install {error.name}"
        ) from None
    except Exception as error:  # network, disk, checksum, manual download: as many classes
        raise DatasetError(
            f"TensorFlow Datasets could not prepare {name!r} ({type(error).__name__}: "
            f"{_first_line(error)}); it needs the network once, or a prepared `data_dir`"
        ) from None
    roles = _find_roles(name, builder.info.features, options, tfds.features)
    log = SkipLog(options.strict)
    feature = None if roles.label is None else builder.info.features[roles.label]
    names = list(feature.names) if isinstance(feature, tfds.features.ClassLabel) else None
    notes: list[str] = []
    splits = {}
    for split, examples in tensors.items():
        rows = list(tfds.as_numpy(examples))
        splits[str(split)] = _split(rows, roles, names, f"{name}[{split}]", log, notes)
    log.warn(name)
    info = builder.info
    card = Card(
        description=str(info.description).strip(),
        license=str(getattr(info, "redistribution_info", None) or "unknown").strip(),
        source=f"TensorFlow Datasets {info.full_name}",
        counts={split: len(rows) for split, rows in splits.items()},
        skipped=log.entries(),
        columns=roles.as_dict(),
        notes=tuple(notes),
    )
    return Dataset(name, splits, names, card)


def _find_roles(name: str, features: Any, options: Options, kinds: Any) -> Roles:
    found = "features found: " + ", ".join(
        f"{k!r} ({type(v).__name__})" for k, v in features.items()
    )
    for argument in ("text_column", "pair_column", "label_column"):
        named = getattr(options, argument)
        if named is not None and named not in features:
            raise DatasetError(f"`{argument}` {named!r} is not a feature of {name!r}; {found}")
    texts = [key for key, value in features.items() if isinstance(value, kinds.Text)]
    text, pair = options.text_column, options.pair_column
    if text is None:
        free = [key for key in texts if key != pair]
        # Features come in no dependable order, so which is the first text is known by name only.
        ordered = usual_pairs(free) if pair is None else []
        if len(free) == 1:
            text = free[0]
        elif len(free) == 2 and ordered:
            text, pair = ordered[0]
        else:
            raise DatasetError(
                f"{name!r} has {len(free)} text features and which are the texts is not plain; "
                f"give `text_column` (and `pair_column`); {found}"
            )
    label = options.label_column
    if label is None and options.labelled:
        classes = [k for k, v in features.items() if isinstance(v, kinds.ClassLabel)]
        scores = [k for k, v in features.items() if _is_float_scalar(v)]
        candidates = classes or scores
        if len(candidates) != 1:
            raise DatasetError(
                f"{name!r} has {len(candidates)} features that could be the label; give "
                f"`label_column`, or `labelled=False`; {found}"
            )
        label = candidates[0]
    if label is not None and not (
        isinstance(features[label], kinds.ClassLabel) or _is_float_scalar(features[label])
    ):
        raise DatasetError(
            f"`label_column` {label!r} is neither a ClassLabel nor a float scalar; {found}"
        )
    ids = next((key for key in ("id", "idx") if key in features), None)
    return Roles(text, pair, label, ids)


def _is_float_scalar(feature: Any) -> bool:
    shape, dtype = getattr(feature, "shape", None), getattr(feature, "np_dtype", None)
    return shape == () and dtype is not None and np.issubdtype(dtype, np.floating)


def _split(
    rows: list[dict[str, Any]],
    roles: Roles,
    names: list[str] | None,
    where: str,
    log: SkipLog,
    notes: list[str],
) -> Split:
    labelled = roles.label is not None
    if names is not None and rows and all(int(row[str(roles.label)]) < 0 for row in rows):
        # Benchmarks with a leader board publish their test split with -1 for every label.
        notes.append(f"{where} hides its labels, so it is unlabelled")
        labelled = False
    kept = []
    for i, row in enumerate(rows, 1):
        if labelled and names is not None and int(row[str(roles.label)]) < 0:
            log.add("label is -1 (hidden)", f"{where}:{i}")
        else:
            kept.append(row)
    labels: Labels | None = None
    if labelled and names is not None:
        labels = np.array([row[str(roles.label)] for row in kept], dtype=np.int32)
    elif labelled:
        labels = np.array([row[str(roles.label)] for row in kept], dtype=np.float32)
    return Split(
        texts=[_string(row[roles.text]) for row in kept],
        text_pairs=None if roles.pair is None else [_string(row[roles.pair]) for row in kept],
        labels=labels,
        ids=None if roles.ids is None else [_string(row[roles.ids]) for row in kept],
        label_names=names,
    )


def _string(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip()[:200] if lines else type(error).__name__
