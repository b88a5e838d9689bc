"""LoRA, IA3 and VeRA of AdapterHub: modules that are several places, and products of matrices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from kzoo.adapters.interop.adapterhub_links import (
    FORMS,
    Arrays,
    Link,
    Row,
    column,
    flat,
    rows_at,
    transposed,
)
from kzoo.adapters.interop.adapterhub_names import HubModules
from kzoo.adapters.interop.adapterhub_words import Raw
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError


def is_vera(raw: Raw) -> bool:
    """Whether a LoRA of the library is its VeRA, which is one of full matrices."""
    return any(isinstance(raw.get(key), float) for key in ("vera_d", "vera_b"))


def by_module(
    rows: Sequence[Row], config: Any, places: Sequence[Place], modules: HubModules
) -> Iterator[Link]:
    """The tensors of each projection; of several at once where they are one torch module."""
    together: dict[str, list[str]] = {}
    for place in places:
        together.setdefault(modules.lora(place.key), []).append(place.key)
    for module, keys in together.items():
        path = modules.layout.path_of(keys[0])
        if len(modules.layout.modules[path].keys) == 1:
            yield from rows_at(rows, config, module, keys[0])
            continue
        if getattr(config, "use_dora", False):
            raise AdapterError(f"AdapterHub cannot run DoRA on {path}, which is one module there.")
        for row in rows:
            if row.when(config):
                ours = tuple(f"{key}.{row.ours}" for key in keys)
                read = partial(_divided, row.form, len(keys))
                write = partial(_joined, row.form)
                yield Link((f"{module}.{row.theirs}",), ours, read, write)


def _divided(form: str, count: int, arrays: Arrays) -> Arrays:
    """Rows for each place, in the order of the places."""
    return FORMS[form][0](np.split(arrays[0], count, axis=0))


def _joined(form: str, arrays: Arrays) -> Arrays:
    return [np.concatenate(FORMS[form][1](arrays), axis=0)]


def vera(config: Any, places: Sequence[Place], modules: HubModules) -> Iterator[Link]:
    """VeRA as the LoRA that it is: A = D A_shared, B = B_own B_shared."""
    shared = (f"{modules.shared}.lora_A", f"{modules.shared}.lora_B")
    for place in places:
        module = modules.lora(place.key)
        own = (f"{module}.vera_D", f"{module}.vera_B")
        ours = (f"{place.key}.lora_a", f"{place.key}.lora_b")
        yield Link((*own, *shared), ours, _products, None)
        if config.use_dora:
            yield Link((f"{module}.m.weight",), (f"{place.key}.magnitude",), flat, column)


def _products(arrays: Arrays) -> Arrays:
    d, b, shared_a, shared_b = arrays
    return transposed([d @ shared_a, b @ shared_b])
