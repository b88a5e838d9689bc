"""Deleting documents from an index."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from retrieval_index.errors import ArgumentError, DocumentNotFoundError
from retrieval_index.maintenance.changing import Change, changing

SHOWN = 5


def delete(
    path: str | os.PathLike[str],
    ids: str | Iterable[str] | None = None,
    *,
    where: Mapping[str, Any] | None = None,
    missing: str = "error",
) -> int:
    """Deletes documents, with all their passages, in one step.

    They are marked as deleted and never found again; their text stays in the files until
    `compact`, and in snapshots.

    Args:
        path: Folder of the index.
        ids: Ids of documents; or None, with `where`.
        where: Filter on metadata, as in `Index.search`: all documents that pass it.
        missing: What happens when an id is not there: "error" (nothing is deleted) or "ignore".

    Returns:
        How many documents were deleted. With 0, the index is as it was.

    Raises:
        ArgumentError: Unless exactly one of `ids` and `where` is given and well-formed.
        DocumentNotFoundError: If an id is not there and `missing` is "error".
        IndexNotFoundError: If there is no index.
        BuildLockedError: If another process changes the index.
    """
    if (ids is None) == (where is None):
        raise ArgumentError("`ids` or `where` must be given, and not both.")
    if missing not in ("error", "ignore"):
        raise ArgumentError(f"`missing` must be 'error' or 'ignore'; received: {missing!r}.")
    wanted = None if ids is None else _checked_ids(ids)
    with changing(path) as change:
        if wanted is None:
            assert where is not None
            dead = _passing(change, where)
        else:
            dead = _with_ids(change, wanted, missing)
        count = sum(len(numbers) for numbers in dead.values())
        if count:
            change.commit("delete", dead=dead)
    return count


def _checked_ids(ids: str | Iterable[str]) -> list[str]:
    found = [ids] if isinstance(ids, str) else list(dict.fromkeys(ids))
    for identifier in found:
        if not isinstance(identifier, str):
            raise ArgumentError(f"`ids` must be strings; received: {identifier!r}.")
    return found


def _with_ids(change: Change, ids: list[str], missing: str) -> dict[int, set[int]]:
    found = change.version.find(ids)
    absent = [identifier for identifier in ids if identifier not in found]
    if absent and missing == "error":
        more = f" and {len(absent) - SHOWN} more" if len(absent) > SHOWN else ""
        raise DocumentNotFoundError(
            f"`ids`: the index {change.folder} has no document {', '.join(absent[:SHOWN])}{more}. "
            "Nothing was deleted; `missing='ignore'` deletes the others."
        )
    dead: dict[int, set[int]] = {}
    for part, number in found.values():
        dead.setdefault(part, set()).add(number)
    return dead


def _passing(change: Change, where: Mapping[str, Any]) -> dict[int, set[int]]:
    import numpy as np

    from retrieval_index.filters import parse_filter

    condition = parse_filter(where)
    dead = {}
    for part, segment in enumerate(change.version.segments):
        fits = segment.store.matching(condition, segment.entry.documents)
        if segment.dead is not None:
            fits &= ~segment.dead
        if fits.any():
            dead[part] = set(np.flatnonzero(fits).tolist())
    return dead
