"""What every read has: a column's name, the inputs that it makes, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.errors import InputError
from kzoo.keras_internals import history

if TYPE_CHECKING:
    from kzoo.reads.windows import Windows

Rows = NDArray[np.int64]
Arrays = dict[str, NDArray[Any]]
Targets = Callable[[Rows, int], tuple[NDArray[Any], NDArray[Any]]]
ITSELF = ""  # instead of an output's name, where the input says itself what is learned


@dataclass(frozen=True)
class Part:
    """Encoded rows of a column, to be put into batches.

    A column is one part, or several where its inputs have different lengths (source and target).

    Args:
        pad: (row numbers, length) -> input name -> array with these rows, padded to the length,
            which is 0 for a part without lengths.
        lengths: int (n,), tokens of each row; None where all rows have one shape.
        longest: The longest length that may be needed.
        targets: Output name -> (row numbers, length) -> (labels, weights), for the outputs that
            learn something at the tokens of this input; under `ITSELF` what the input says itself.
        windows: Which text each encoded row is of, where one may have become several.
        candidates: int (n,), how many candidates each row has, where its inputs are several texts.
        draw: Number of an epoch -> the part of this epoch, where something is drawn anew.
    """

    pad: Callable[[Rows, int], Arrays]
    lengths: NDArray[np.int64] | None = None
    longest: int = 0
    targets: Mapping[str, Targets] = field(default_factory=dict)
    windows: Windows | None = None
    candidates: NDArray[np.int64] | None = None
    draw: Callable[[int], Part] | None = None

    def of(self, rows: Rows) -> Part:
        """The part with a row for each number in `rows`."""
        lengths = None if self.lengths is None else self.lengths[rows]
        return replace(
            self, pad=lambda numbers, length: self.pad(rows[numbers], length), lengths=lengths
        )


class Read:
    """Turns a raw column into the tensors of one or several inputs of a model.

    Subclasses are registered in `kzoo.reads.READS` under their `kind` and attached to the symbolic
    inputs that they fill, where `kzoo.Model` finds them.

    Args:
        name: The column that it reads.
        inputs: The symbolic inputs, by the names that `Part.pad` gives.

    Attributes:
        kind: Name in the registry.
        trunk: Whose tokenizer, sizes and prompts it uses, or None.
        columns: Names of several columns of a table, read as a tuple where none has its own name.
    """

    kind: ClassVar[str]
    trunk: Any = None
    columns: ClassVar[tuple[tuple[str, ...], ...]] = ()

    def __init__(self, name: str, inputs: Mapping[str, Any]) -> None:
        self.name = name
        self.keys = tuple(inputs)
        for tensor in inputs.values():
            made = history(tensor)
            assert made is not None, "an input has a history"
            made[0].kzoo_read = self

    def is_raw(self, column: Any) -> bool:
        """Whether a column is what this read takes, and not tensors that are ready for the model.

        Where both look alike, True.
        """
        return True

    def encode(self, column: Any, by_row: Any = None) -> list[Part]:
        """Encodes a column.

        Args:
            column: n rows.
            by_row: Virtual tokens of each row, where every row has an adapter of its own.

        Returns:
            The column's parts.

        Raises:
            InputError: A row that cannot be used; its number is named.
        """
        raise NotImplementedError

    def encode_learned(self, column: Any, by_row: Any = None) -> list[Part]:
        """As `encode`, where what is learned is part of the column."""
        return self.encode(column, by_row)

    def count(self, column: Any) -> int:
        """How many rows a column has."""
        return len(column)

    @property
    def fingerprint(self) -> str:
        """Equal for reads that make the same of every column."""
        return f"{self.kind}|{self.config()}|{self.keys}"

    def config(self) -> dict[str, Any]:
        """JSON-ready: what `attach` needs beside the inputs and the trunk."""
        return {}

    @classmethod
    def attach(
        cls, name: str, inputs: Mapping[str, Any], trunk: Any, config: Mapping[str, Any]
    ) -> Read:
        """Makes a read anew for the inputs of a model that was loaded or cloned."""
        raise NotImplementedError


def read_of(tensor: Any) -> Read | None:
    """The read that fills a symbolic input."""
    made = history(tensor)
    return None if made is None else getattr(made[0], "kzoo_read", None)


def prefix_of(name: str | None) -> str:
    """What stands before the names of a named input's tensors."""
    if name is not None and (not name or "/" in name):
        raise InputError(f"`name` must be a word without /. Received: {name!r}")
    return "" if name is None else f"{name}_"


def symbolic(names: Sequence[str], shape: Sequence[int | None], dtype: str) -> dict[str, Any]:
    """A Keras input for each name, of one shape (without the batch) and dtype."""
    return {name: keras.Input(tuple(shape), dtype=dtype, name=name) for name in names}


def padded(
    values: NDArray[Any], offsets: NDArray[np.int64], rows: Rows, length: int, fill: int = 0
) -> NDArray[Any]:
    """Rows of a ragged array, (len(rows), length), filled up with `fill`."""
    out = np.full((len(rows), length), fill, values.dtype)
    for number, row in enumerate(rows):
        own = values[offsets[row] : offsets[row + 1]]
        out[number, : len(own)] = own
    return out
