"""What is decided when an index is built, and holds for everything that is added to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from retrieval_index.errors import ArgumentError, check_positive

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B?)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """Which FAISS index is wanted, and how faithful it must be.

    Attributes:
        factory: FAISS factory string; None: chosen by size and budgets.
        memory: Most bytes the FAISS index may take; None: no limit.
        latency: Most milliseconds for one query on one core; None: no limit.
        recall: Least recall@10 against exact search. Default 0.95.
        deletes: Whether many documents will be deleted or replaced. Default False.
        reproducible: Whether the same input gives the same index, bit for bit. Default True.
        seed: Chooses the training sample, the first centroids, the queries of the measurement.
    """

    factory: str | None = None
    memory: int | None = None
    latency: float | None = None
    recall: float = 0.95
    deletes: bool = False
    reproducible: bool = True
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Returns the options as JSON-ready data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> IndexOptions:
        """Returns the options that `to_dict` wrote; unknown keys are an error."""
        return cls(**data)


def check_options(
    *,
    factory: str | None,
    memory: int | str | None,
    latency: float | None,
    recall: float,
    deletes: bool,
    reproducible: bool,
    seed: int,
) -> IndexOptions:
    """Returns the options after checking them.

    Raises:
        ArgumentError: If one is of the wrong kind or out of range.
    """
    if factory is not None and (not isinstance(factory, str) or not factory):
        raise ArgumentError(f"`index` must be a FAISS factory string; received: {factory!r}.")
    if latency is not None and (not _number(latency) or latency <= 0):
        raise ArgumentError(f"`latency` must be milliseconds above 0; received: {latency!r}.")
    if not _number(recall) or not 0 < recall <= 1:
        raise ArgumentError(f"`recall` must lie in (0, 1]; received: {recall!r}.")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31:
        raise ArgumentError(f"`seed` must be an int in [0, 2**31); received: {seed!r}.")
    return IndexOptions(
        factory,
        None if memory is None else bytes_of(memory),
        None if latency is None else float(latency),
        float(recall),
        bool(deletes),
        bool(reproducible),
        seed,
    )


def bytes_of(memory: int | str) -> int:
    """Returns a size such as `2_000_000`, "500MB" or "1.5 GB" in bytes (powers of 1000).

    Raises:
        ArgumentError: If it is no size of at least one byte.
    """
    if not isinstance(memory, str):
        return check_positive("memory", memory)
    match = _SIZE.fullmatch(memory)
    unit = match.group(2).upper() if match else ""
    if match is None or (unit and not unit.endswith("B")):
        raise ArgumentError(
            f"`memory` must be bytes or a size such as '500MB' or '2GB'; received: {memory!r}."
        )
    return check_positive("memory", int(float(match.group(1)) * UNITS[unit]))


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
