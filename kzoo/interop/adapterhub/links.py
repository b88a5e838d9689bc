"""Which tensors of AdapterHub's files are which variables here, for reading and for writing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from kzoo.adapters.config import AdapterConfig
from kzoo.adapters.methods.bottleneck import BottleneckConfig
from kzoo.adapters.methods.compacter import CompacterConfig
from kzoo.adapters.methods.gated import GatedPrefixConfig
from kzoo.adapters.methods.ia3 import Ia3Config
from kzoo.adapters.methods.lora import LoraConfig
from kzoo.adapters.methods.prefix import PrefixConfig
from kzoo.adapters.methods.reft import ReftConfig
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError
from kzoo.interop.adapterhub.reft import reft_links
from kzoo.interop.adapterhub.tensors import (
    AROUND,
    COMPACTER,
    FORMS,
    IA3,
    INVERTIBLE,
    LORA,
    PLAIN,
    PROMPT,
    RULE,
    Arrays,
    HubModules,
    Link,
    Row,
    column,
    flat,
    linear,
    rows_at,
    transposed,
)
from kzoo.interop.adapterhub.words import Raw, function

# Of the network behind a prefix.
_NETWORK = (
    "wte.weight",
    "control_trans.0.weight",
    "control_trans.0.bias",
    "control_trans.2.weight",
    "control_trans.2.bias",
)
_FUNCTIONS: dict[str, Any] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "leakyrelu": lambda x: np.where(x > 0, x, 0.01 * x),
    "swish": lambda x: x / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
}


def links(config: AdapterConfig, raw: Raw, modules: HubModules) -> list[Link]:
    """All tensors of one method.

    Args:
        config: Our configuration.
        raw: The library's, complete.
        modules: The model, and the adapter's name.

    Raises:
        AdapterError: The model has no such place.
    """
    places = config.choose(modules.layout.places)
    if isinstance(config, BottleneckConfig):
        return list(_bottleneck(config, places, modules))
    if isinstance(config, (Ia3Config, LoraConfig)):
        rows = IA3 if isinstance(config, Ia3Config) else LORA
        if isinstance(config, LoraConfig) and _is_vera(raw):
            return list(_vera(config, places, modules))
        return list(_by_module(rows, config, places, modules))
    if isinstance(config, PrefixConfig):
        return list(_prefix(config, raw, places, modules))
    if isinstance(config, ReftConfig):
        return list(reft_links(config, places, modules))
    return [
        link
        for place in places
        if place.site == "embeddings_norm"
        for link in rows_at(PROMPT, config, modules.prompt, place.key)
    ]


def _bottleneck(
    config: BottleneckConfig, places: Sequence[Place], modules: HubModules
) -> Iterator[Link]:
    rows: tuple[Row, ...] = PLAIN
    if isinstance(config, CompacterConfig):
        rows = COMPACTER
        if config.shared_phm_rule:
            yield from rows_at(RULE, config, modules.shared, "shared")
    for place in places:
        if config.is_body(place):
            module = modules.bottleneck(place.key)
            yield from rows_at((*rows, *AROUND), config, module, place.key)
        elif place.site == "embeddings_norm" and config.inv_adapter is not None:
            yield from rows_at(INVERTIBLE, config, modules.invertible, place.key)


# --- LoRA, IA3 and VeRA --------------------------------------------------------------------


def _is_vera(raw: Raw) -> bool:
    """Whether a LoRA of the library is its VeRA, which is one of full matrices."""
    return any(isinstance(raw.get(key), float) for key in ("vera_d", "vera_b"))


def _by_module(
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


def _vera(config: Any, places: Sequence[Place], modules: HubModules) -> Iterator[Link]:
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


# --- Prefixes: one tensor or network for all attentions of a kind --------------------------


def _prefix(config: Any, raw: Raw, places: Sequence[Place], modules: HubModules) -> Iterator[Link]:
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
