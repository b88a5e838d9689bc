"""Which modules a PEFT config means, and how kzoo says the same places."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from kzoo.backbones.places import Place
from kzoo.errors import AdapterError
from kzoo.interop.layouts import Layout

ALL_LINEAR = "all-linear"


def chosen_paths(config: Mapping[str, Any], layout: Layout, prefix: str) -> list[str] | None:
    """The modules of a layout that a config targets, or None where it does not say.

    Args:
        config: The file's.
        layout: All modules of the model.
        prefix: What stands before the layout's paths in the HF model.

    Raises:
        AdapterError: A regular expression that is none.
    """
    targets = config.get("target_modules")
    parameters = [str(name).rpartition(".")[0] for name in config.get("target_parameters") or []]
    if targets is None and not parameters:
        return None
    found = []
    for path, module in layout.modules.items():
        whole = prefix + path
        if _excluded(config, whole):
            continue
        if isinstance(targets, str) and targets.lower() == ALL_LINEAR:
            wanted = module.kind == "linear"
        elif targets is None:
            wanted = False
        else:
            wanted = matches(targets, whole)
            if wanted and not isinstance(targets, str):
                wanted = _in_layers(config, whole)
        if wanted or any(_suffix(whole, name) for name in parameters):
            found.append(path)
    return found


def value_at(config: Mapping[str, Any], key: str, pattern: str | None, path: str) -> Any:
    """A config value at one module: the first fitting entry of the pattern, or the plain value."""
    for expression, value in (config.get(pattern or "") or {}).items():
        if _regex(rf"(.*\.)?({expression})$", path, whole=False):
            return value
    return config[key]


def short_names(chosen: Iterable[str], layout: Layout, prefix: str) -> list[str]:
    """A `target_modules` list that means exactly these modules, as short as it can be said.

    Args:
        chosen: Paths without prefix.
        layout: All modules.
        prefix: What stands before them in the HF model.
    """
    wanted = {prefix + path for path in chosen}
    whole = [prefix + path for path in layout.modules]
    names: list[str] = []
    for path in sorted(wanted):
        if any(_suffix(path, name) for name in names):
            continue
        parts = path.split(".")
        for size in range(1, len(parts) + 1):
            name = ".".join(parts[-size:])
            vague = name == "dense" or not layout.complete or layout.family is None
            if vague and size < len(parts):  # heads have layers of this name too
                continue
            if all(other in wanted for other in whole if _suffix(other, name)):
                names.append(name)
                break
    return names


def _excluded(config: Mapping[str, Any], path: str) -> bool:
    exclude = config.get("exclude_modules")
    if exclude and matches(exclude, path):
        return True
    saved = config.get("modules_to_save") or []
    saved = [saved] if isinstance(saved, str) else saved
    return any(_regex(rf"(^|.*\.){name}($|\..*)", path, whole=False) for name in saved)


def matches(targets: Any, path: str) -> bool:
    """Whether a list of names or a regular expression means a module."""
    if isinstance(targets, str):
        return _regex(targets, path)
    return any(_suffix(path, str(target)) for target in targets)


def _suffix(path: str, name: str) -> bool:
    return path == name or path.endswith(f".{name}")


def _in_layers(config: Mapping[str, Any], path: str) -> bool:
    layers = config.get("layers_to_transform")
    if layers is None or layers == []:
        return True
    patterns = config.get("layers_pattern") or [r"[^.]*"]
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        lead = r".*?\." if pattern == r"[^.]*" else r"(?:^|.*?\.)"
        found = re.match(rf"{lead}{pattern}\.(\d+)\.", path)
        if found:
            return int(found[1]) in ([layers] if isinstance(layers, int) else layers)
    return False


def _regex(pattern: str, path: str, whole: bool = True) -> bool:
    try:
        return bool((re.fullmatch if whole else re.match)(pattern, path))
    except re.error as error:
        raise AdapterError(f"{pattern!r} in the config is no regular expression: {error}") from None


def said_in_kzoo(
    keys: Collection[str], places: Sequence[Place], complete: bool = True, blocks: bool = True
) -> dict[str, Any]:
    """The choice of places in kzoo's words: `targets`, and `leave_out` for whole blocks.

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
