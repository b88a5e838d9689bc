"""The forms in which users pass columns and labels, made one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kzoo.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from kzoo.reads.read import Read

# What single-labelled tables call their column.
USUAL_LABELS = ("label", "labels", "target", "y", "score")


@dataclass(frozen=True)
class Table:
    """Columns in memory.

    Args:
        inputs: Column name -> n rows, one column a read.
        labels: Output name -> n labels, for the outputs that have any.
        weights: float (n,), or None.
        names: Label names where integer labels index into names, or None.
        rows: n.
    """

    inputs: dict[str, Any]
    labels: dict[str, Any] = field(default_factory=dict)
    weights: NDArray[Any] | None = None
    names: tuple[str, ...] | None = None
    rows: int = 0


def read_table(
    x: Any,
    y: Any,
    sample_weight: Any,
    reads: Mapping[str, Read],
    outputs: Sequence[str],
    as_given: Collection[str] = (),
) -> Table | None:
    """Reads columns and labels in any accepted form; None where x is tensors for Keras.

    Args:
        x: A column; a tuple or list of columns, one a read; a list of tuples of texts, a text for
            each read; a dict, data frame, arrow table or HF dataset with the columns by name; or a
            split of `kzoo.datasets`.
        y: Labels of the one output; a tuple or list of them, one an output; or a dict by output
            name. Default: columns of x of these names.
        sample_weight: n numbers.
        reads: Column name -> read.
        outputs: Names of the outputs.
        as_given: Those of them whose labels stay the objects that they are (lists of tags).

    Raises:
        InputError: A column is missing, empty, of another length or of a wrong kind.
    """
    names = None
    if is_split(x):
        names = tuple(x.label_names) if getattr(x, "label_names", None) else None
        y = x.labels if y is None else y
        x = x.inputs
    columns = _columns(x, reads)
    if columns is None:
        return None
    inputs = _inputs(columns, reads)
    counts = {name: reads[name].count(column) for name, column in inputs.items()}
    rows = next(iter(counts.values()))
    if len(set(counts.values())) > 1:
        raise InputError(f"`x` has columns of different lengths: {counts}")
    if rows == 0:
        raise InputError("`x` is empty. At least one row is needed.")
    labels = _labels(y, columns, reads, outputs)
    return Table(
        inputs,
        {
            name: label_column(column, rows, _said(name, outputs), name in as_given)
            for name, column in labels.items()
        },
        None if sample_weight is None else _weights(sample_weight, rows),
        names,
        rows,
    )


def is_split(x: Any) -> bool:
    """Whether x is a split of `kzoo.datasets`, which carries its labels."""
    return hasattr(x, "inputs") and hasattr(x, "labels") and not hasattr(x, "layers")


def named_columns(x: Any) -> dict[str, Any] | None:
    """The columns of a table by name: dict, data frame, arrow table, HF dataset; else None."""
    if isinstance(x, Mapping):
        return dict(x)
    names = getattr(x, "column_names", None)  # arrow tables, HF datasets
    if names is None and hasattr(x, "to_numpy") and getattr(x, "ndim", 0) == 2:
        names = list(x.columns)  # data frames
    if isinstance(names, Mapping):
        raise InputError(
            f"`x` holds several splits: {sorted(names)}. Pass one, such as x['train']."
        )
    return None if names is None else {str(name): as_list(x[name]) for name in names}


def as_list(column: Any) -> Any:
    """A column of somebody else's table as a list or NumPy array; no copy of these two."""
    if isinstance(column, (list, tuple, str, np.ndarray)):
        return column
    if hasattr(column, "to_pylist"):  # arrow
        return column.to_pylist()
    if hasattr(column, "to_numpy"):  # pandas, polars
        return column.to_numpy()
    if hasattr(column, "numpy"):  # tensors
        return column.numpy()
    return list(column) if isinstance(column, Iterable) else column


def _columns(x: Any, reads: Mapping[str, Read]) -> dict[str, Any] | None:
    found = named_columns(x)
    if found is not None:
        inputs = {key for read in reads.values() for key in read.keys}
        if (inputs - set(reads)) & set(found) and not (set(reads) - inputs) & set(found):
            return None  # tensors by the names of the inputs
        return found
    if len(reads) == 1:
        (name, read), column = next(iter(reads.items())), _light(x)
        return {name: column} if column is not None and read.is_raw(column) else None
    if isinstance(x, list) and x and all(isinstance(r, tuple) and _texts(r, reads) for r in x):
        return dict(zip(reads, map(list, zip(*x, strict=True)), strict=True))
    if isinstance(x, (list, tuple)) and len(x) == len(reads):
        columns = {name: _light(column) for (name, _), column in zip(reads.items(), x, strict=True)}
        raw = [reads[name].is_raw(column) for name, column in columns.items()]
        return columns if all(raw) else None
    return None


def _texts(row: Sequence[Any], reads: Mapping[str, Read]) -> bool:
    return len(row) == len(reads) and all(isinstance(text, str) for text in row)


def _light(x: Any) -> Any:
    """A lone column; None for what is neither a column nor a stream of one."""
    if isinstance(x, (str, bytes)):
        return x  # the read explains
    return as_list(x) if hasattr(x, "__len__") or hasattr(x, "numpy") else None


def _inputs(columns: Mapping[str, Any], reads: Mapping[str, Read]) -> dict[str, Any]:
    inputs = {}
    for name in reads:
        if name in columns:
            inputs[name] = as_list(columns[name])
            continue
        several = next((own for own in reads[name].columns if {*own} <= {*columns}), None)
        if several is not None:
            inputs[name] = tuple(as_list(columns[own]) for own in several)
            continue
        # A table of two columns, one of them the label: there is only one to read.
        others = [c for c in columns if c not in USUAL_LABELS]
        if len(reads) == 1 and len(others) == 1:
            inputs[name] = as_list(columns[others[0]])
            continue
        raise InputError(
            f"`x` has no column `{name}`, which the model reads."
            f"{did_you_mean(name, map(str, columns))}"
        )
    return inputs


def _labels(
    y: Any, columns: Mapping[str, Any], reads: Mapping[str, Read], outputs: Sequence[str]
) -> dict[str, Any]:
    if y is None:
        found = {name: columns[name] for name in outputs if name in columns}
        usual = [name for name in USUAL_LABELS if name in columns and name not in reads]
        if not found and len(outputs) == 1 and usual:
            found = {outputs[0]: columns[usual[0]]}
        return found
    by_name = named_columns(y)
    if by_name is not None:
        if len(outputs) == 1 and outputs[0] not in by_name and len(by_name) == 1:
            return {outputs[0]: next(iter(by_name.values()))}
        if unknown := [name for name in by_name if name not in outputs]:
            raise InputError(
                f"`y` has `{unknown[0]}`, which is no output of the model."
                f"{did_you_mean(unknown[0], outputs)}"
            )
        return by_name
    if len(outputs) == 1:
        return {outputs[0]: y}
    if isinstance(y, (list, tuple)) and len(y) == len(outputs):
        return dict(zip(outputs, y, strict=True))
    raise InputError(f"`y` must be a dict or a tuple with a column for each of {list(outputs)}.")


def _said(name: str, outputs: Sequence[str]) -> str:
    return "y" if len(outputs) == 1 else f"y[{name!r}]"


def label_column(y: Any, rows: int, name: str, as_given: bool = False) -> Any:
    """A label column as an array (rows, ...), or of n objects.

    Raises:
        InputError: Another number of labels.
    """
    column = as_list(y)
    # As text NumPy would write None and NaN as names.
    as_given = as_given or (isinstance(column, (list, tuple)) and any_text(column))
    try:
        column = np.fromiter(column, object, len(column)) if as_given else np.asarray(column)
    except ValueError:  # rows of different lengths, which some heads take
        column = np.fromiter(column, object, len(column))
    if column.ndim == 2 and column.shape[1] == 1:
        column = column[:, 0]
    if column.ndim == 0 or len(column) != rows:
        raise InputError(
            f"`{name}` must have one label for each of the {rows} texts. "
            f"Received shape: {column.shape}"
        )
    return column


def any_text(column: Sequence[Any]) -> bool:
    """Whether there is a string among the values."""
    return any(isinstance(value, str) for value in column)


def _weights(sample_weight: Any, rows: int) -> NDArray[Any]:
    weights = np.asarray(as_list(sample_weight))
    if weights.shape != (rows,):
        raise InputError(f"`sample_weight` must have shape ({rows},). Received: {weights.shape}")
    if not np.isfinite(weights.astype("float64")).all():
        row = int(np.argmin(np.isfinite(weights.astype("float64"))))
        raise InputError(f"`sample_weight` row {row} is {weights[row]}, which is no weight.")
    return weights


def looks_like_text(x: Any) -> bool:
    """Whether a column is texts or pairs of texts, or lists in which a text is missing."""
    if isinstance(x, np.ndarray):
        return x.dtype.kind in "USO"
    if isinstance(x, str):
        return True  # check_rows explains
    if not isinstance(x, (list, tuple)):
        return False
    if len(x) == 0:
        return True
    first = x[0]
    while isinstance(first, (list, tuple)) and len(first):
        first = first[0]
    if isinstance(first, str):  # NumPy's strings have a shape and a dtype too
        return True
    return (isinstance(first, np.ndarray) and first.dtype.kind in "USO") or not _is_tensor(first)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (hasattr(value, "shape") and hasattr(value, "dtype"))
