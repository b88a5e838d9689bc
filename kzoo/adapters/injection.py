"""Placing adapters inside the blocks of a backbone, and taking them out again.

Adapters live inside layers, never in the graph: KerasHub's `generate()` calls layers one by one
and bypasses the graph, while a swapped sublayer is honoured everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from kzoo.adapters.config import AdapterConfig
from kzoo.adapters.layers.site import AdapterLayer, AdapterSite
from kzoo.backbones.families import Family
from kzoo.errors import AdapterError
from kzoo.seeds import derive_seed


def inject(
    backbone: Any, family: Family, name: str, config: AdapterConfig, seed: int = 0
) -> list[AdapterLayer]:
    """Adds a named adapter at every site that its configuration names; not yet active.

    Args:
        backbone: A built backbone.
        family: Its row in the family table.
        name: The adapter's name.
        config: The method.
        seed: Decides the initial values.

    Returns:
        The new layers, from the input upwards.

    Raises:
        AdapterError: The family has none of the sites.
    """
    missing = [site for site in config.sites if site not in family.sites]
    if missing:
        raise AdapterError(
            f"`{config.method}` needs the sites {missing}, which {family.name} does not have. "
            f"Sites of {family.name}: {', '.join(family.sites)}."
        )
    blocks = family.block_list(backbone)
    layers = []
    for index in config.blocks(len(blocks)):
        for site in config.sites:
            parent, attribute = _locate(blocks[index], family.sites[site])
            held = getattr(parent, attribute)
            if not isinstance(held, AdapterSite):
                held = AdapterSite(held, site)
                _swap(parent, attribute, held)
            with keras.name_scope(blocks[index].name), keras.name_scope(site):
                layer = config.make_layer(
                    site, held.base, name, derive_seed(seed, name, index, site)
                )
            held.add(name, layer)
            layers.append(layer)
    return layers


def remove(backbone: Any, family: Family, name: str) -> None:
    """Takes an adapter out; a sublayer without adapters stands alone again."""
    for block in family.block_list(backbone):
        for path in family.sites.values():
            parent, attribute = _locate(block, path)
            held = getattr(parent, attribute)
            if isinstance(held, AdapterSite) and name in held.adapters:
                held.remove(name)
                if not held.adapters:
                    _swap(parent, attribute, held.release())


def activate(backbone: Any, family: Family, names: tuple[str, ...]) -> None:
    """Makes exactly these adapters act, the first one innermost."""
    for _, _, held in sites(backbone, family):
        held.active = tuple(name for name in names if name in held.adapters)


def sites(backbone: Any, family: Family) -> Iterator[tuple[int, str, AdapterSite]]:
    """All (block number, site name, wrapper) of a backbone, from the input upwards."""
    for index, block in enumerate(family.block_list(backbone)):
        for site, path in family.sites.items():
            parent, attribute = _locate(block, path)
            held = getattr(parent, attribute)
            if isinstance(held, AdapterSite):
                yield index, site, held


def _locate(block: Any, path: str) -> tuple[Any, str]:
    *parents, attribute = path.split(".")
    for name in parents:
        block = getattr(block, name)
    return block, attribute


def _swap(parent: Any, attribute: str, new: Any) -> None:
    parent._tracker.unlock()
    parent._tracker.untrack(getattr(parent, attribute))
    setattr(parent, attribute, new)
    parent._tracker.lock()
