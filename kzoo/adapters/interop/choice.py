"""A choice of places said in kzoo's own words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from kzoo.backbones.places import Place


def say(
    keys: Collection[str], places: Sequence[Place], complete: bool = True, blocks: bool = True
) -> dict[str, Any]:
    """`targets`, and `leave_out` where whole blocks are missing, that mean exactly these places.

    Sites and names where all their places are chosen, single keys otherwise.

    Args:
        keys: Keys of the chosen places.
        places: All places of the model.
        complete: Whether these are really all; if not, every key is named.
        blocks: Whether `leave_out` may be used.

    Returns:
        Options of a configuration.
    """
    chosen = set(keys)
    if not complete:
        return {"targets": tuple(p.key for p in places if p.key in chosen)}
    every = {place.block for place in places if place.block is not None}
    used = {place.block for place in places if place.key in chosen}
    empty = tuple(sorted(every - used)) if blocks and used - {None} else ()
    names = _names(chosen, [place for place in places if place.block not in empty])
    if empty and names is not None:
        return {"targets": names, "leave_out": empty}
    names = _names(chosen, places)
    return {"targets": names or tuple(p.key for p in places if p.key in chosen)}


def _names(chosen: set[str], places: Sequence[Place]) -> tuple[str, ...] | None:
    names: list[str] = []
    for place in places:
        if place.key not in chosen or any(place.matches(name) for name in names):
            continue
        for name in (place.site, place.name):
            if all(other.key in chosen for other in places if other.matches(name)):
                names.append(name)
                break
        else:
            return None
    return tuple(names)
