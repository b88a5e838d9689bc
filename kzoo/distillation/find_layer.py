"""Finding a layer by name at any depth of a model."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from kzoo.distillation.errors import DistillationError
from kzoo.keras_internals import parts


def find_layer(model: Any, name: str, role: str = "model") -> Any:
    """The layer that `name` means, also inside a nested backbone or inside another layer.

    A path from the model down (`"backbone.transformer_layer_3"`, or a top-level name) wins;
    otherwise `name` must be the end of exactly one layer's path.

    Args:
        model: a `keras.Model`.
        name: layer name or dotted path.
        role: what to call the model in an error: `"teacher"`, `"student"`.

    Returns:
        The `keras.Layer`.

    Raises:
        DistillationError: if no layer or more than one answers to `name`; near names, or the
            candidates' paths, are listed.
    """
    paths = dict(_walk(model, ""))
    if name in paths:
        return paths[name]
    matches: dict[int, tuple[str, Any]] = {}
    for path, layer in paths.items():
        if path.endswith(f".{name}"):
            matches.setdefault(id(layer), (path, layer))  # one layer, several ways to reach it
    if len(matches) == 1:
        return next(iter(matches.values()))[1]
    argument = f"`{role}_layer_name`"
    if matches:
        listed = ", ".join(repr(path) for path, _ in matches.values())
        raise DistillationError(
            f"{argument}: {name!r} is the name of {len(matches)} layers of {model.name!r}; "
            f"give one of the paths {listed}."
        )
    # Compare with bare names too, else a long path never looks like a short typo.
    known = {path.rpartition(".")[2]: path for path in reversed(paths)}
    near = difflib.get_close_matches(name, [*paths, *known], n=5, cutoff=0.5)
    near_paths = list(dict.fromkeys(known.get(n, n) for n in near)) or list(paths)[:10]
    listed = ", ".join(repr(path) for path in near_paths)
    raise DistillationError(
        f"{argument}: no layer {name!r} in {model.name!r} or the layers inside it; near: {listed}."
    )


def _walk(layer: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for child in parts(layer):
        path = f"{prefix}{child.name}"
        yield path, child
        yield from _walk(child, f"{path}.")
