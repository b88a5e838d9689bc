"""`kzoo.ArrayInput`: columns of numbers; what every plain `keras.Input` of a model reads too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kzoo.errors import InputError
from kzoo.reads import READS
from kzoo.reads.columns import as_list
from kzoo.reads.read import Part, Read


def ArrayInput(
    shape: Sequence[int | None] = (), name: str = "array", dtype: str = "float32"
) -> Any:
    """A symbolic input for a column of numbers: a feature, a vector, passages of an index.

    Args:
        shape: Of one row: `()` for a number, which becomes (batch, 1); `(384,)` for a vector;
            `(None, 384)` for some vectors, padded with zeros to the most of a batch.
        name: The column.
        dtype: Of the tensor. Default float32.

    Returns:
        A KerasTensor (batch, *shape).
    """
    tensor = keras.Input(tuple(shape) or (1,), dtype=dtype, name=name)
    ArrayRead(name, {name: tensor})
    return tensor


@READS.register("array")
class ArrayRead(Read):
    """Rows of numbers.

    Args:
        name: The column, and the input's name.
        inputs: The one symbolic input.
    """

    kind = "array"

    def __init__(self, name: str, inputs: Mapping[str, Any]) -> None:
        super().__init__(name, inputs)
        (tensor,) = inputs.values()
        self.shape = tuple(tensor.shape[1:])
        self.dtype = str(tensor.dtype)

    def encode(self, column: Any, by_row: Any = None) -> list[Part]:
        """See `Read`; rows with an open first axis are padded with zeros."""
        key = self.keys[0]
        if self.shape and self.shape[0] is None:
            rows = [self._row(row, number) for number, row in enumerate(column)]
            lengths = np.asarray([len(row) for row in rows], "int64")

            def pad(numbers: Any, length: int) -> dict[str, Any]:
                out = np.zeros((len(numbers), length, *rows[0].shape[1:]), self.dtype)
                for place, number in enumerate(numbers):
                    out[place, : lengths[number]] = rows[number]
                return {key: out}

            return [Part(pad, lengths, longest=int(lengths.max(initial=1)))]
        try:
            values = np.asarray(as_list(column), self.dtype)
        except (TypeError, ValueError):  # one of the rows; it says which
            values = np.stack([self._row(row, number) for number, row in enumerate(column)])
        if values.ndim == 1:
            values = values[:, None]
        self._check(values.shape[1:], "")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            bad = int(np.argwhere(~np.isfinite(values))[0][0])
            raise InputError(f"`{self.name}` row {bad} is not finite: {column[bad]!r}")
        return [Part(lambda rows, length: {key: values[rows]})]

    def _row(self, row: Any, number: int) -> Any:
        try:
            value = np.asarray(row, self.dtype)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"`{self.name}` row {number} must be numbers of shape {self.shape}. "
                f"Received: {row!r:.60}"
            ) from error
        if value.size == 0 and self.shape and self.shape[0] is None:
            value = np.zeros((0, *(size or 0 for size in self.shape[1:])), self.dtype)  # none
        self._check(value.shape, f" row {number}")
        return value

    def _check(self, shape: tuple[int, ...], where: str) -> None:
        fits = len(shape) == len(self.shape) and all(
            b is None or a == b for a, b in zip(shape, self.shape, strict=True)
        )
        if not fits:
            raise InputError(
                f"`{self.name}`{where} must have shape {self.shape}. Received: {tuple(shape)}"
            )

    @classmethod
    def attach(
        cls, name: str, inputs: Mapping[str, Any], trunk: Any, config: Mapping[str, Any]
    ) -> Read:
        """See `Read`."""
        return cls(name, inputs)
