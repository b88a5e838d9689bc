"""AdapterHub's library: its folders into a model, and out of it; see `load_adapterhub`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kzoo.adapters.formats import FORMATS, AdapterFormat
from kzoo.interop.adapterhub.folders import read_adapterhub, write_adapterhub
from kzoo.interop.adapterhub.heads import with_pooler, without_pooler
from kzoo.interop.adapterhub.setups import load_setup
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

if TYPE_CHECKING:  # needs Keras
    from kzoo.adapters.host import Adaptable
    from kzoo.adapters.manager import Adapters


def save_adapterhub(
    adapters: Adapters,
    name: str,
    path: str | Path,
    with_head: bool = True,
    base_model: str | None = None,
) -> None:
    """Writes an adapter as AdapterHub's library loads it; see `model.adapters.save_adapterhub`."""
    model = adapters.host
    config, tensors = adapters.configs[name], arrays_of(adapters.variables(name))
    head: dict[str, Any] | None = None
    if with_head and class_head(model) is not None:
        facts, variables = model.head_state(name)
        if facts["pooling"] in ("pooler", "cls"):
            head = {**arrays_of(variables), "pooling": facts["pooling"], "labels": facts["labels"]}
            config, tensors = without_pooler(config, tensors, head)
        else:
            warnings.warn(
                "The classification head is not written: AdapterHub has none on "
                f"{facts['pooling']} pooling.",
                InteropWarning,
                stacklevel=4,
            )
    write_adapterhub(path, config, tensors, layout_of_model(model), name, head, base_model)


def load_adapterhub(
    adapters: Adapters,
    path: str | Path,
    name: str | None = None,
    activate: bool = True,
    with_head: bool = True,
    direft: bool | None = None,
) -> str:
    """Adds the adapter of a folder; `model.adapters.load_adapterhub` says how."""
    found = read_adapterhub(path, layout=layout_of_model(adapters.host), direft=direft)
    head = _head_for(adapters.host, found, str(path)) if with_head else None
    if head and "dense_kernel" in head:
        found = with_pooler(found, head)
    name = name or name_for(found.facts["name"])
    return add_imported(adapters, found, name, str(path), activate, head)


FORMATS.register("adapterhub", AdapterFormat(save_adapterhub, load_adapterhub, load_setup))


def _head_for(model: Adaptable, found: Imported, where: str) -> Mapping[str, Any] | None:
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
