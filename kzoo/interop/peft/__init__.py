"""HF PEFT: its folders into a model, and out of it; behind `model.adapters.load_peft`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.config import AdapterConfig, parse_adapter
from kzoo.adapters.formats import FORMATS, AdapterFormat
from kzoo.interop.files import InteropWarning
from kzoo.interop.models import (
    Imported,
    add_imported,
    arrays_of,
    class_head,
    has_place_for_head,
    layout_of_model,
    name_for,
)
from kzoo.interop.peft.reader import read_peft
from kzoo.interop.peft.table import FULL, method_of
from kzoo.interop.peft.writer import write_peft

if TYPE_CHECKING:  # needs Keras
    from kzoo.adapters.manager import Adapters


def save_peft(
    adapters: Adapters, name: str, path: str | Path, with_head: bool = True, **options: Any
) -> None:
    """Writes an adapter as a PEFT folder; `model.adapters.save_peft` says what with.

    Networks behind prompts and prefixes are written as what they make, which is all PEFT stores.
    """
    model = adapters.host
    layout = layout_of_model(model)
    head = None
    if with_head and layout.hf is not None and class_head(model) is not None:
        facts, variables = model.head_state(name)
        if layout.hf.head is not None and layout.hf.head.pooling == facts["pooling"]:
            head = arrays_of(variables)
        else:
            warnings.warn(
                f"The classification head is not written: HF's of {layout.family!r} has another "
                "form or stands on another pooling.",
                InteropWarning,
                stacklevel=4,
            )
    config = adapters.configs[name]
    made = _made_by_networks(list(model.sites.layers(name)), config)
    config, tensors = made or (config, arrays_of(adapters.variables(name)))
    write_peft(path, config, tensors, layout, head, **options)


def load_peft(
    adapters: Adapters,
    path: str | Path,
    name: str | None = None,
    activate: bool = True,
    with_head: bool = True,
) -> str:
    """Adds the adapter of a PEFT folder; `model.adapters.load_peft` says how."""
    model = adapters.host
    layout = layout_of_model(model)
    tables = {place.key: place.layer for place in model.sites.places}

    def same_embedding(key: str, array: NDArray[Any]) -> bool:
        own = np.asarray(tables[key].embeddings)
        return own.shape == array.shape and bool(np.allclose(own, array, atol=1e-6))

    found = read_peft(path, layout=layout, same_embedding=same_embedding)
    head = None
    if with_head and found.facts["head"] and layout.hf is not None and layout.hf.head is not None:
        if has_place_for_head(model):
            facts = {"pooling": layout.hf.head.pooling, "labels": None}
            head = {**found.facts["head"], **facts}
        else:
            warnings.warn(
                f"{str(path)!r} has a classification head, which this model has no place for.",
                InteropWarning,
                stacklevel=4,
            )
    name = name or name_for(Path(path).name)
    return add_imported(
        adapters, found, name, str(path), activate, head, lambda key: _needed(found, key)
    )


FORMATS.register("peft", AdapterFormat(save_peft, load_peft))


def _made_by_networks(
    layers: list[tuple[str, Any]], config: AdapterConfig
) -> tuple[AdapterConfig, dict[str, NDArray[Any]]] | None:
    """What the network of a method makes, as a method without one; None where there is none."""
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
    return None


def _needed(found: Imported, key: str) -> bool:
    """Whether a file has to have a variable."""
    parts = found.config.parts
    number = int(key.partition(".")[0]) if len(parts) > 1 else 0
    method = method_of(parts[number].method) or FULL
    variable = key.rpartition(".")[2]
    required = {row.variable for row in method.rows if not row.optional}
    return variable in required and variable not in method.computed
