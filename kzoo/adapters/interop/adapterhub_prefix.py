"""AdapterHub's prefixes: one tensor or one network for all attention layers of a kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from kzoo.adapters.interop.adapterhub_links import Arrays, Link, linear, rows_at, transposed
from kzoo.adapters.interop.adapterhub_names import HubModules
from kzoo.adapters.interop.adapterhub_words import Raw, function
from kzoo.adapters.methods.gated import GatedPrefixConfig
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError

_NETWORK = (
    "wte.weight",
    "control_trans.0.weight",
    "control_trans.0.bias",
    "control_trans.2.weight",
    "control_trans.2.bias",
)


def links(config: Any, raw: Raw, places: Sequence[Place], modules: HubModules) -> Iterator[Link]:
    """The tensors of all kinds of attention.

    Raises:
        AdapterError: The library computes another function in this family.
    """
    dims = modules.layout.dims
    assert dims is not None
    if modules.family.no_prefix is not None:
        raise AdapterError(f"{modules.family.no_prefix}, which kzoo does not do.")
    standing = [place for place in places if place.site == "attention"]
    groups: dict[str, list[Place]] = {}
    for place in standing:
        groups.setdefault(_location(place, modules), []).append(place)
    for location, own in groups.items():
        module = modules.prefixes(location)
        # Every attention of the model knows the whole pool, with or without a prefix of its own.
        pools = [
            f"{modules.attention(place.key)}.pool.prefix_tunings.{modules.name}.{location}"
            for place in modules.layout.places
            if place.site == "attention"
        ]
        names = ("control_trans",) if raw["flat"] else _NETWORK
        also = tuple(tuple(f"{pool}.{name}" for name in names) for pool in pools)
        theirs = tuple(f"{module}.{name}" for name in names)
        keys = [place.key for place in own]
        if config.projection:
            network = ("embedding", "hidden_kernel", "hidden_bias")
            ours = [f"shared.{name}" for name in network]
            for name in ("output_kernel", "output_bias"):
                ours += [f"{key}.{name}" for key in keys]
            turns = (partial(_read_network, len(keys)), partial(_write_network, len(keys)))
            yield Link(theirs, tuple(ours), *turns, also)
        else:
            ours = [f"{key}.{name}" for key in keys for name in ("prefix_key", "prefix_value")]
            heads = (dims.num_kv_heads, dims.head_dim)
            shape = (config.num_virtual_tokens, 2 * len(keys), *heads)
            if raw["flat"]:
                yield Link(theirs, tuple(ours), partial(_read_flat, shape), _write_flat, also)
            else:
                act = partial(_run_network, shape, function(raw["non_linearity"]))
                yield Link(theirs, tuple(ours), act, None, also)
    if isinstance(config, GatedPrefixConfig):
        for place in standing:
            gates = f"{modules.attention(place.key)}.prefix_gates"
            yield from rows_at(linear(modules.name, "gate"), config, gates, place.key)


def _location(place: Place, modules: HubModules) -> str:
    if place.name == "cross_attention":
        return "cross_prefix"
    return "encoder_prefix" if place.key.startswith("encoder.") else modules.family.self_prefix


def _read_flat(shape: tuple[int, ...], arrays: Arrays) -> Arrays:
    return list(np.moveaxis(arrays[0].reshape(shape), 1, 0))


def _write_flat(arrays: Arrays) -> Arrays:
    return [np.stack(arrays, axis=1).reshape(-1)]


def _read_network(count: int, arrays: Arrays) -> Arrays:
    embedding, first, bias, second, second_bias = arrays
    kernels, biases = (np.split(array, count, axis=0) for array in (second, second_bias))
    return [embedding, first.T, bias, *transposed(kernels), *biases]


def _write_network(count: int, arrays: Arrays) -> Arrays:
    embedding, first, bias, *rest = arrays
    second = np.concatenate(transposed(rest[:count]), axis=0)
    return [embedding, first.T, bias, second, np.concatenate(rest[count:])]


def _run_network(shape: tuple[int, ...], name: str, arrays: Arrays) -> Arrays:
    """The keys and values that the network gives."""
    if name not in _FUNCTIONS:
        known = ", ".join(_FUNCTIONS)
        raise AdapterError(
            f"`non_linearity` {name!r} of a prefix cannot be read. kzoo reads: {known}."
        )
    embedding, first, bias, second, second_bias = arrays
    hidden = _FUNCTIONS[name](embedding @ first.T + bias)
    return _read_flat(shape, [hidden @ second.T + second_bias])


_FUNCTIONS: dict[str, Any] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "leakyrelu": lambda x: np.where(x > 0, x, 0.01 * x),
    "swish": lambda x: x / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
}
