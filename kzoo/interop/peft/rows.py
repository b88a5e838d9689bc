"""The words of the table of PEFT's file format: rows, options, methods.

A row says which tensor of the file is which variable of kzoo's layer, and how the one becomes the
other. torch's matrices are (out, in), ours (in, out).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kzoo.errors import AdapterError

Form = Literal["same", "transposed", "column", "row"]


@dataclass(frozen=True)
class Row:
    """One tensor.

    Args:
        suffix: What stands behind the path of the module; for `shared` rows the whole key.
        variable: Name of our variable.
        form: `transposed`; `column` (n, 1) and `row` (1, n), which are vectors (n,) here.
        fused: Where one torch module is several places: `shared` by all of them, `split` along
            our last axis, or `refused`.
        empty: What a place without an adapter has in a split tensor; None: that cannot be said.
        kinds: Modules that have it.
        shared: Whether it belongs to the whole adapter instead of a module.
        optional: Whether it may be missing.
        when: Our option and the values with which the tensor is there at all.
        depends: Whether the model's sizes decide if it is there.
        end: `out` or `in` where the adapter acts on one end of a module, and this is its tensor.
        owner: For `shared` rows, what stands before the variable in our key.
    """

    suffix: str
    variable: str
    form: Form = "same"
    fused: Literal["shared", "split", "refused"] = "refused"
    empty: float | None = None
    kinds: tuple[str, ...] = ("linear",)
    shared: bool = False
    optional: bool = False
    when: tuple[str, tuple[Any, ...]] | None = None
    depends: bool = False
    end: Literal["out", "in"] | None = None
    owner: str = "shared"

    def ours(self, array: NDArray[Any]) -> NDArray[Any]:
        """A tensor of the file as our variable."""
        if self.form == "transposed" and array.ndim == 2:
            return array.T
        if self.form in ("column", "row") and array.ndim == 2 and 1 in array.shape:
            return array.reshape(-1)
        return array

    def theirs(self, array: NDArray[Any]) -> NDArray[Any]:
        """Our variable as a tensor of the file."""
        if self.form == "transposed":
            return array.T
        if self.form == "column":
            return array.reshape(-1, 1)
        return array.reshape(1, -1) if self.form == "row" else array

    def shape(self, ours: tuple[int, ...]) -> tuple[int, ...]:
        """Shape in the file of a variable of this shape."""
        return self.theirs(np.empty(ours, "b")).shape


@dataclass(frozen=True)
class Option:
    """One key of the config.

    Args:
        theirs: PEFT's name.
        ours: kzoo's.
        default: What PEFT assumes where the file is silent.
        pattern: Our option of the values that differ at single places; PEFT's has the same name.
        values: PEFT's value -> ours, where they are not the same. Anything else is refused.
    """

    theirs: str
    ours: str
    default: Any
    pattern: str | None = None
    values: tuple[tuple[Any, Any], ...] = ()

    def read(self, value: Any) -> Any:
        """PEFT's value as ours.

        Raises:
            AdapterError: kzoo does not have it.
        """
        if not self.values:
            return self.default if value is None else value
        for theirs, ours in self.values:
            if type(theirs) is type(value) and theirs == value:
                return ours
        known = ", ".join(repr(theirs) for theirs, _ in self.values)
        raise AdapterError(
            f"`{self.theirs}` {value!r} of the PEFT config cannot be read. kzoo reads: {known}."
        )

    def write(self, value: Any) -> Any:
        """Our value as PEFT's."""
        return next((theirs for theirs, ours in self.values if ours == value), value)


@dataclass(frozen=True)
class Method:
    """One method.

    Args:
        methods: kzoo's names of it; files are read as the first.
        peft_type: PEFT's.
        rows: Its tensors.
        options: Keys of the config that both have.
        only: Config keys that change what is computed -> the values that kzoo knows; the first is
            PEFT's default.
        places: kzoo's options that list the places: none where there is no choice, two (`out`
            and `in`) where the adapter acts on one end.
        computed: Variables that are made from the model's weights, or have no say, and are not in
            files.
        fan_in_fan_out: Whether PEFT has this key, for modules that are `Conv1D`.
    """

    methods: tuple[str, ...]
    peft_type: str
    rows: tuple[Row, ...]
    options: tuple[Option, ...] = ()
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    places: tuple[str, ...] = ("targets",)
    computed: tuple[str, ...] = ()
    fan_in_fan_out: bool = False

    @property
    def is_prompt(self) -> bool:
        """Whether it is made of virtual tokens: one tensor, no modules, another prefix of keys."""
        return not self.places

    def rows_at(self, kind: str) -> list[Row]:
        """The tensors of a module of this kind."""
        return [row for row in self.rows if not row.shared and kind in row.kinds]
