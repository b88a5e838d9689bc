"""The prefix layer, and more keys and values inside of KerasHub's attention layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import AdapterLayer, Function
from kzoo.adapters.layers.calls import bind, first_of
from kzoo.adapters.layers.delta import Projection
from kzoo.adapters.methods.prefix import PrefixConfig
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError
from kzoo.keras_internals import has_window, windowed_mask
from kzoo.seeds import derive_seed


class PrefixEncoder(keras.layers.Layer):  # type: ignore[misc]
    """tanh(E W_1 + b_1), which all places share.

    Variables: `embedding` (P, KV), `hidden_kernel` (KV, b), `hidden_bias` (b,).
    """

    def __init__(self, config: PrefixConfig, places: Sequence[Place], name: str, seed: int) -> None:
        super().__init__(name=f"{name}.shared")
        width = config.width(places)
        self.embedding = self.add_weight(
            (config.num_virtual_tokens, width),
            keras.initializers.RandomNormal(stddev=config.init_std, seed=seed),
            name="embedding",
        )
        self.hidden_kernel = self.add_weight(
            (width, config.bottleneck),
            keras.initializers.GlorotUniform(derive_seed(seed, "hidden")),
            name="hidden_kernel",
        )
        self.hidden_bias = self.add_weight((config.bottleneck,), "zeros", name="hidden_bias")
        self.built = True

    def hidden(self) -> Any:
        """float (P, b)."""
        return keras.ops.tanh(
            keras.ops.matmul(self.embedding, self.hidden_kernel) + self.hidden_bias
        )


class PrefixLayer(AdapterLayer):
    """More keys and values for one attention.

    Variables: `prefix_key`, `prefix_value` (P, kv_heads, head_dim); or with the network
    `output_kernel` (b, 2 KV), `output_bias` (2 KV,), keys first.
    """

    def __init__(self, config: PrefixConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        self.attention = Attention(place)
        self.encoder = building.shared
        seed = building.seed_at(place)
        heads = self.attention.heads
        if config.projection:
            self.output_kernel = self.add_weight(
                (config.bottleneck, 2 * place.size_out),
                keras.initializers.GlorotUniform(seed),
                name="output_kernel",
            )
            self.output_bias = self.add_weight((2 * place.size_out,), "zeros", name="output_bias")
            return
        for name in ("prefix_key", "prefix_value"):
            start = keras.initializers.RandomNormal(
                stddev=config.init_std, seed=derive_seed(seed, name)
            )
            variable = self.add_weight((config.num_virtual_tokens, *heads), start, name=name)
            setattr(self, name, variable)

    def keys_and_values(self) -> tuple[Any, Any]:
        """Two tensors (P, kv_heads, head_dim)."""
        ops = keras.ops
        if not self.config.projection:
            return (
                ops.convert_to_tensor(self.prefix_key),
                ops.convert_to_tensor(self.prefix_value),
            )
        both = ops.matmul(self.encoder.hidden(), self.output_kernel) + self.output_bias
        both = ops.reshape(both, (self.config.num_virtual_tokens, 2, *self.attention.heads))
        return both[:, 0], both[:, 1]

    def apply(self, inner: Function, x: Any) -> Any:
        """x: `(args, kwargs)` of the attention's method."""
        key, value = self.keys_and_values()
        return self.attention.with_prefix(inner, x, key, value)


class Attention:
    """One attention layer as a prefix sees it.

    Args:
        place: Its place; the method takes queries, keys, values and a mask, or is T5's `call`.

    Attributes:
        heads: (heads of the keys, width of a head).
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        layer = place.layer
        self.in_one_method = hasattr(layer, "key_projector")  # T5
        if self.in_one_method:
            self.heads = (int(layer.num_heads), int(layer.key_value_dim))
            return
        dense = getattr(layer, "_key_dense", None) or getattr(layer, "key_dense", None)
        shape = Projection(dense).out_shape if dense is not None else ()
        if len(shape) != 2:
            raise AdapterError(
                f"`prefix` at {place.key}: {type(layer).__name__} does not show its heads."
            )
        self.heads = (shape[0], shape[1])

    def with_prefix(self, inner: Function, x: Any, key: Any, value: Any) -> Any:
        """The attention over the prefix and its own keys.

        A cache of keys and values never sees the prefix: it is added behind the cache, at every
        step of a generation anew.

        Args:
            inner: The method.
            x: Its `(args, kwargs)`.
            key: float (P, kv_heads, head_dim), or (batch, P, kv_heads, head_dim).
            value: The same for values.
        """
        if self.in_one_method:
            return self._t5(inner, x, key, value)
        call = bind(self.place, x)
        arguments = call.arguments
        count = key.shape[-3]
        mask = _masked_by_window(self.place.layer, arguments)
        keys, values = first_of(arguments, "key", "k"), first_of(arguments, "value", "v")
        if arguments.get("use_causal_mask"):  # Keras' own kernel counts from the first key
            mask = _causal(arguments["query"], arguments[keys], mask)
            arguments["use_causal_mask"] = False
        if mask is not None:
            arguments["attention_mask"] = _with_ones(mask, count, arguments[keys])
        for name, rows in ((keys, key), (values, value)):
            arguments[name] = _in_front(rows, arguments[name])
        with _adjusted(self.place.layer, count):
            return inner((call.args, call.kwargs))

    def _t5(self, inner: Function, x: Any, key: Any, value: Any) -> Any:
        # Keys that stand in a cache are taken as they are, and so is a given bias. The prefix
        # goes in by that door; it has no position, so that its bias is 0.
        call = bind(self.place, x)
        a, ops = call.arguments, keras.ops
        states, cache, index = a["hidden_states"], a["cache"], a["cache_update_index"]
        keys, values = self._t5_keys(states, a["key_value_states"], cache, index)
        if cache is not None:
            cache = ops.stack((keys, values), axis=1)
        bias = a["position_bias"]
        if bias is None:
            bias = self._t5_bias(ops.shape(states)[1], ops.shape(keys)[1], index, a["mask"])
        with_prefix = [_in_front(key, keys), _in_front(value, values)]
        a["cache"], a["cache_update_index"] = ops.stack(with_prefix, axis=1), None
        zeros = ops.zeros((*ops.shape(bias)[:-1], key.shape[-3]), bias.dtype)
        a["position_bias"] = ops.concatenate((zeros, bias), axis=-1)
        output, _, _ = inner((call.args, call.kwargs))
        return output, bias, cache

    def _t5_keys(self, states: Any, source: Any, cache: Any, index: Any) -> tuple[Any, Any]:
        layer, ops = self.place.layer, keras.ops
        if cache is not None and index is None:
            return cache[:, 0], cache[:, 1]
        source = states if source is None else source
        shape = (ops.shape(source)[0], -1, *self.heads)
        fresh = [
            ops.reshape(projector(source), shape)
            for projector in (layer.key_projector, layer.value_projector)
        ]
        if cache is None:
            return fresh[0], fresh[1]
        start = [0, index, 0, 0]
        keys, values = (ops.slice_update(cache[:, i], start, fresh[i]) for i in (0, 1))
        return keys, values

    def _t5_bias(self, queries: Any, keys: Any, index: Any, mask: Any) -> Any:
        layer, ops = self.place.layer, keras.ops
        if layer.use_relative_attention_bias:
            bias = layer.compute_bias(queries, keys, 0 if index is None else index)
        else:
            bias = ops.zeros((1, layer.num_heads, queries, keys), layer.compute_dtype)
        if mask is not None:
            bias = bias + (1.0 - ops.cast(ops.expand_dims(mask, 1), bias.dtype)) * -1e9
        return bias


def _in_front(rows: Any, tensor: Any) -> Any:
    """Rows (P, kv_heads, d), or of each text, before a tensor (batch, tokens, heads, d)."""
    ops = keras.ops
    # Grouped queries: some families repeat the heads of keys and values before this point.
    rows = ops.repeat(rows, tensor.shape[-2] // rows.shape[-2], axis=-2)
    rows = ops.cast(rows, tensor.dtype)
    if len(rows.shape) == 3:
        rows = ops.broadcast_to(rows, (ops.shape(tensor)[0], *rows.shape))
    return ops.concatenate((rows, tensor), axis=1)


def _with_ones(mask: Any, count: int, key: Any) -> Any:
    """A mask (..., queries, keys) that lets every query see the prefix."""
    ops = keras.ops
    if mask.shape[-1] == 1:  # holds for every key
        mask = ops.repeat(mask, ops.shape(key)[1], axis=-1)
    ones = ops.ones((*ops.shape(mask)[:-1], count), mask.dtype)
    return ops.concatenate((ones, mask), axis=-1)


def _causal(query: Any, key: Any, mask: Any) -> Any:
    ops = keras.ops
    rows = ops.expand_dims(ops.arange(ops.shape(query)[1]), 1)
    causal = ops.expand_dims(rows >= ops.arange(ops.shape(key)[1]), 0)
    return causal if mask is None else ops.logical_and(ops.cast(mask, "bool"), causal)


def _masked_by_window(layer: Any, arguments: dict[str, Any]) -> Any:
    """The mask, with a sliding window in it where the layer would apply one itself.

    A window counts keys from the first one, which the prefix would shift.
    """
    mask = arguments.get("attention_mask")
    if _window(layer) is None or mask is None:
        return mask
    start = arguments.get("cache_update_index")
    return windowed_mask(layer, mask, 0 if start is None else start)


def _window(layer: Any) -> str | None:
    """The attribute that switches a sliding window on inside of the method."""
    if not has_window(layer):
        return None
    gate = "use_sliding_window_attention"
    name = gate if hasattr(layer, gate) else "sliding_window_size"
    return name if getattr(layer, name, None) else None


@contextmanager
def _adjusted(layer: Any, count: int) -> Iterator[None]:
    """Attention layers that count keys themselves, told about the prefix while they run."""
    window = _window(layer)
    size = getattr(layer, window) if window else None
    name = "_compute_disentangled_attention"
    relative, outside = getattr(layer, name, None), vars(layer).get(name)
    if window:
        setattr(layer, window, False)
    if relative is not None:
        setattr(layer, name, partial(_relative_scores, relative, count))
    try:
        yield
    finally:
        if window:
            setattr(layer, window, size)
        if relative is not None:
            delattr(layer, name)
            if outside is not None:  # another prefix is around this one
                setattr(layer, name, outside)


def _relative_scores(function: Any, count: int, query: Any, key: Any, rel_embeddings: Any) -> Any:
    """DeBERTa's scores of relative positions; a prefix has no position, so 0 there."""
    scores = function(query=query, key=key[:, count:], rel_embeddings=rel_embeddings)
    return keras.ops.pad(scores, ((0, 0), (0, 0), (0, 0), (count, 0)))
