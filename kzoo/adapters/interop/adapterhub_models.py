"""AdapterHub folders into a model, and out of it; behind the manager's methods."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kzoo.adapters.interop.adapterhub_heads import with_pooler, without_pooler
from kzoo.adapters.interop.adapterhub_reader import read_adapterhub
from kzoo.adapters.interop.adapterhub_writer import write_adapterhub
from kzoo.adapters.interop.folders import InteropWarning
from kzoo.adapters.interop.on_models import class_head, has_place_for_head, layout_of_model
from kzoo.adapters.interop.peft_reader import Imported
from kzoo.errors import AdapterError


def load_adapterhub(
    adapters: Any,
    path: str | Path,
    name: str | None,
    activate: bool,
    with_head: bool,
    direft: bool | None,
) -> str:
    """Adds the adapter of a folder; the model is unchanged if that fails.

    Args:
        adapters: The model's manager.
        path: The folder.
        name: Name to give it. Default: its own.
        activate: Make it the only active adapter.
        with_head: Also take a classification head from the folder.
        direft: See `read_adapterhub`.

    Returns:
        The adapter's name.
    """
    model = adapters._model
    found = read_adapterhub(path, layout=layout_of_model(model), direft=direft)
    name = name or "".join(c if c.isalnum() or c in "-_" else "-" for c in found.facts["name"])
    head = _head_for(model, found, str(path)) if with_head else None
    if head and "dense_kernel" in head:
        found = with_pooler(found, head)
    before = adapters.composition
    adapters.add(name, found.config, activate=False)
    try:
        variables = adapters.variables(name)
        _check(found, variables, str(path))
        if head:
            _take(model, head, str(path), name)
        for key, value in found.tensors.items():
            variables[key].assign(value)
    except BaseException:
        adapters.delete(name)
        if before is not None:
            adapters.activate(before)
        raise
    if activate:
        adapters.activate(name)
    return name


def save_adapterhub(
    adapters: Any, name: str, path: str | Path, with_head: bool, base_model: str | None
) -> None:
    """Writes an adapter as a folder that AdapterHub's library loads.

    Args:
        adapters: The model's manager.
        name: Which.
        path: Folder to write.
        with_head: Also write the classification head, where the library has one like it.
        base_model: Goes to `model_name`.
    """
    model = adapters._model
    layout = layout_of_model(model)
    config = adapters.configs[name]
    tensors = {key: np.asarray(v) for key, v in adapters.variables(name).items()}
    head = None
    if with_head and class_head(model) is not None:
        facts, variables = model.head_state(name)
        head = {key: np.asarray(v) for key, v in variables.items()}
        head |= {"pooling": facts["pooling"], "labels": facts["labels"]}
        if facts["pooling"] not in ("pooler", "cls"):
            warnings.warn(
                "The classification head is not written: AdapterHub has none on "
                f"{facts['pooling']} pooling.",
                InteropWarning,
                stacklevel=3,
            )
            head = None
    if head is not None:
        config, tensors = without_pooler(config, tensors, head)
    write_adapterhub(path, config, tensors, layout, name, head, base_model)


# --- Heads ---------------------------------------------------------------------------------


def _head_for(model: Any, found: Imported, where: str) -> Mapping[str, Any] | None:
    """The head of the file, if this model has a place for it."""
    head = found.facts["head"]
    if not head:
        return None
    if not has_place_for_head(model):
        reason = "which this model has no place for"
    elif "dense_kernel" not in head:
        return dict(head)
    elif head["pooling"] != "cls" or head["activation"] != "tanh":
        reason = "of two layers that are not those of a pooler and a head"
    elif not any(place.key == "pooler" for place in model.sites.places):
        reason = "of two layers, and this model has no pooler to be the first"
    else:  # a dense layer with tanh on the first token is what a pooler is
        return {**head, "pooling": "pooler"}
    warnings.warn(
        f"{where!r} has a classification head {reason}; it is left aside.",
        InteropWarning,
        stacklevel=5,
    )
    return None


def _take(model: Any, head: Mapping[str, Any], where: str, name: str) -> None:
    classes = int(head["kernel"].shape[1])
    facts = {"pooling": head["pooling"], "num_classes": classes, "labels": head["labels"]}
    dims = layout_of_model(model).dims
    width = dims.hidden_dim if dims is not None else len(head["kernel"])
    if len(head["kernel"]) != width:
        raise AdapterError(
            f"{where!r} does not fit: the head is {len(head['kernel'])} wide, this model's {width}."
        )
    model.accept_head(facts, name)
    _, variables = model.head_state(name)
    for key, variable in variables.items():
        variable.assign(head[key])


# --- Shapes --------------------------------------------------------------------------------


def _check(found: Imported, variables: Mapping[str, Any], where: str) -> None:
    """Names and shapes, said as the file says them, before anything is assigned.

    Raises:
        AdapterError: Names the first missing, unexpected and mis-shaped keys.
    """
    keys = found.facts["keys"]
    problems = []
    if missing := [key for key in variables if key not in found.tensors]:
        problems.append(f"nothing for {missing[:3]} ({len(missing)} in all)")
    if unexpected := [keys[key] for key in found.tensors if key not in variables]:
        problems.append(f"unexpected {unexpected[:3]} ({len(unexpected)} in all)")
    for key, variable in variables.items():
        ours = found.tensors[key].shape if key in found.tensors else tuple(variable.shape)
        if ours != tuple(variable.shape):
            problems.append(
                f"`{keys[key]}` does not have the model's sizes: {key} would be {ours} instead of "
                f"{tuple(variable.shape)}"
            )
            break
    if problems:
        raise AdapterError(f"{where!r} does not fit: " + "; ".join(problems))
