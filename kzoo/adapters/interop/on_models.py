"""PEFT folders into a model, and out of it; behind `model.adapters.load_peft` and `save_peft`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.adapted import _backbone_of
from kzoo.adapters.config import AdapterConfig, parse_adapter
from kzoo.adapters.interop.folders import InteropWarning
from kzoo.adapters.interop.layouts import Layout, layout_of
from kzoo.adapters.interop.peft_format import Method
from kzoo.adapters.interop.peft_reader import Imported, read_peft
from kzoo.adapters.interop.peft_table import FULL, method_of
from kzoo.adapters.interop.peft_writer import write_peft
from kzoo.backbones.dims import Dims
from kzoo.backbones.families import family_of
from kzoo.errors import AdapterError


def layout_of_model(model: Any) -> Layout:
    """The torch modules that the places of a model are in HF's model of the same family."""
    facts = model.trunk_facts()
    if "family" in facts:
        return layout_of(model.sites.places, facts["family"], Dims(**facts["dims"]))
    backbone = _backbone_of(getattr(model, "model", None))  # of a model that `kzoo.adapt` took
    if backbone is None:
        return layout_of(model.sites.places, None)
    return layout_of(model.sites.places, family_of(backbone).name, Dims.of(backbone))


def load_peft(adapters: Any, path: str | Path, name: str, activate: bool, with_head: bool) -> None:
    """Adds the adapter of a PEFT folder; the model is unchanged if that fails.

    Args:
        adapters: The model's manager.
        path: The folder.
        name: Name to give it.
        activate: Make it the only active adapter.
        with_head: Also take a classification head from the file.
    """
    model = adapters._model
    tables = {place.key: place.layer for place in model.sites.places}

    def same_embedding(key: str, array: NDArray[Any]) -> bool:
        own = np.asarray(tables[key].embeddings)
        return own.shape == array.shape and bool(np.allclose(own, array, atol=1e-6))

    found = read_peft(path, layout=layout_of_model(model), same_embedding=same_embedding)
    put(adapters, found, name, str(path), activate, with_head)


def put(
    adapters: Any, found: Imported, name: str, where: str, activate: bool, with_head: bool
) -> None:
    """Adds what was read from a file of another library to a model."""
    model = adapters._model
    before = adapters.active
    adapters.add(name, found.config, activate=False)
    try:
        variables = adapters.variables(name)
        _check(found, variables, where)
        if with_head and found.facts["head"]:
            _take_head(model, found, where, name)
        for key, value in found.tensors.items():
            variables[key].assign(value)
    except BaseException:
        adapters.delete(name)
        if before:
            adapters.activate(*before)
        raise
    if activate:
        adapters.activate(name)


def save_peft(adapters: Any, name: str, path: str | Path, with_head: bool, **options: Any) -> None:
    """Writes an adapter as a PEFT folder.

    Args:
        adapters: The model's manager.
        name: Which.
        path: Folder to write.
        with_head: Also write the classification head, where HF's has the form of ours.
        **options: As `write_peft` has them.
    """
    model = adapters._model
    layout = layout_of_model(model)
    head = None
    hf = layout.hf
    if with_head and hf is not None and class_head(model) is not None:
        facts, variables = model.head_state(name)
        if hf.head is not None and hf.head.pooling == facts["pooling"]:
            head = {key: np.asarray(v) for key, v in variables.items()}
        else:
            warnings.warn(
                f"The classification head is not written: HF's of {layout.family!r} has another "
                "form or stands on another pooling.",
                InteropWarning,
                stacklevel=3,
            )
    config, tensors = _without_networks(model, name, adapters.configs[name])
    if config is None:
        config = adapters.configs[name]
        tensors = {key: np.asarray(v) for key, v in adapters.variables(name).items()}
    write_peft(path, config, tensors, layout, head, **options)


def _without_networks(
    model: Any, name: str, config: AdapterConfig
) -> tuple[AdapterConfig | None, dict[str, NDArray[Any]]]:
    """What the networks behind prompts and prefixes make, as PEFT stores it; or (None, {})."""
    layers = list(model.sites.layers(name))
    if config.method == "ptuning":
        raw = config.model_dump(include={"num_virtual_tokens", "position"})
        rows = {f"{key}.prompt": np.asarray(layer.rows()) for key, layer in layers}
        return parse_adapter({"method": "prompt", **raw}), rows
    if config.method == "prefix" and getattr(config, "projection", False):
        made: dict[str, NDArray[Any]] = {}
        for key, layer in layers:
            if key.endswith("attention"):
                values = zip(("prefix_key", "prefix_value"), layer.keys_and_values(), strict=True)
                made |= {f"{key}.{variable}": np.asarray(value) for variable, value in values}
        return parse_adapter(config.model_dump() | {"projection": False}), made
    return None, {}


def class_head(model: Any) -> Any:
    """The one classification head beside a trunk, if its classes are known."""
    heads = [head for head in model.heads() if head.has_variables]
    known = len(heads) == 1 and heads[0].kind == "classify" and not heads[0].is_open
    return heads[0] if known else None


def has_place_for_head(model: Any) -> bool:
    """Whether a classification head of a file would have a place beside a trunk."""
    heads = [head for head in model.heads() if head.has_variables]
    return len(heads) == 1 and heads[0].kind == "classify"


def _check(found: Imported, variables: dict[str, Any], where: str) -> None:
    """Names and shapes, said as the file says them.

    Raises:
        AdapterError: Names the first missing, unexpected and mis-shaped keys.
    """
    keys = found.facts["keys"]
    problems = []
    wanted = {key for key in variables if _row(found, key) is not None}
    if missing := [key for key in variables if key in wanted and key not in found.tensors]:
        problems.append(f"nothing for {missing[:3]} ({len(missing)} in all)")
    if unexpected := [keys.get(key, key) for key in found.tensors if key not in variables]:
        problems.append(f"unexpected {unexpected[:3]} ({len(unexpected)} in all)")
    for key, variable in variables.items():
        if key in found.tensors and found.tensors[key].shape != tuple(variable.shape):
            ours = tuple(found.tensors[key].shape)
            problems.append(
                f"`{keys.get(key, key)}` does not fit the model: {key} would be {ours} instead of "
                f"{tuple(variable.shape)}"
            )
            break
    if problems:
        raise AdapterError(f"{where!r} does not fit: " + "; ".join(problems))


def _row(found: Imported, key: str) -> Any:
    """The required row of a variable, or None where a file need not have it."""
    parts = found.config.parts
    number = int(key.partition(".")[0]) if len(parts) > 1 else 0
    method: Method = method_of(parts[number].method) or FULL
    variable = key.rpartition(".")[2]
    if variable in method.computed:
        return None
    rows = [row for row in method.rows if row.variable == variable and not row.optional]
    return rows[0] if rows else None


def _take_head(model: Any, found: Imported, where: str, name: str) -> None:
    head = found.facts["head"]
    hf = layout_of_model(model).hf
    if hf is None or hf.head is None:
        return
    if not has_place_for_head(model):
        warnings.warn(
            f"{where!r} has a classification head, which this model has no place for.",
            InteropWarning,
            stacklevel=5,
        )
        return
    classes = int(head["kernel"].shape[1])
    facts = {"pooling": hf.head.pooling, "num_classes": classes, "labels": None}
    model.accept_head(facts, name)
    _, variables = model.head_state(name)
    for key, variable in variables.items():
        if tuple(variable.shape) != head[key].shape:
            raise AdapterError(
                f"{where!r} does not fit: the head's {key} has shape {head[key].shape} instead of "
                f"{tuple(variable.shape)}"
            )
    for key, variable in variables.items():
        variable.assign(head[key])
