"""What a dataset says about itself, and the count of everything left out of it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

from kzoo.errors import DatasetError, DatasetWarning

# Enough places to find a systematic fault; the count itself is always complete.
_PLACES_KEPT = 20
_PLACES_SHOWN = 3


@dataclass(frozen=True)
class Skipped:
    """Rows left out for one reason.

    Args:
        reason: why the rows were left out.
        count: how many rows, all of them.
        where: the first 20 places, such as ``"train.jsonl:17"``; empty if places mean nothing.
    """

    reason: str
    count: int
    where: tuple[str, ...] = ()


@dataclass(frozen=True)
class Card:
    """Description of a dataset.

    Args:
        description: one or two sentences on what the examples are.
        license: the licence of the texts, ``"unknown"`` by default.
        source: where the examples were read from.
        counts: examples kept, by split.
        skipped: what was left out, one entry per reason.
        columns: which column was used as what (``text``, ``pair``, ``label``), where there were
            columns.
        notes: remarks a reader of a score needs, such as a split without labels.
    """

    description: str
    license: str = "unknown"
    source: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def num_skipped(self) -> int:
        """Rows left out, over all reasons."""
        return sum(item.count for item in self.skipped)


class SkipLog:
    """Counts rows that are left out, or refuses the first of them.

    Args:
        strict: raise `DatasetError` at the first row instead of counting it. Default False.
    """

    def __init__(self, strict: bool = False) -> None:
        self._strict = strict
        self._places: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}

    def add(self, reason: str, where: str = "") -> None:
        """Count one row.

        Args:
            reason: why it is left out; rows are grouped by this text.
            where: its place, such as ``"train.jsonl:17"``.

        Raises:
            DatasetError: if the log is strict.
        """
        if self._strict:
            raise DatasetError(
                f"{where}: {reason}; correct the row, or leave out `strict=True` to have such rows "
                "counted and reported instead"
            )
        self._counts[reason] = self._counts.get(reason, 0) + 1
        places = self._places.setdefault(reason, [])
        if where and len(places) < _PLACES_KEPT:
            places.append(where)

    def __len__(self) -> int:
        return sum(self._counts.values())

    def entries(self) -> tuple[Skipped, ...]:
        """Everything counted so far, the most frequent reason first."""
        ordered = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        return tuple(Skipped(reason, n, tuple(self._places[reason])) for reason, n in ordered)

    def describe(self) -> str:
        """One line for a person, with the first places of each reason."""
        parts = []
        for item in self.entries():
            shown = ", ".join(item.where[:_PLACES_SHOWN])
            more = ", ..." if item.count > _PLACES_SHOWN else ""
            parts.append(f"{item.count} x {item.reason}" + (f" ({shown}{more})" if shown else ""))
        return "; ".join(parts)

    def warn(self, source: str) -> None:
        """Issue a single `DatasetWarning` if anything was counted.

        Args:
            source: what was being read.
        """
        if self._counts:
            warnings.warn(
                f"{source}: {len(self)} rows left out: {self.describe()}. All are listed in "
                "`dataset.card.skipped`; `strict=True` refuses them",
                DatasetWarning,
                stacklevel=2,
            )
