"""The prefix layer; formulas in `kzoo.adapters.methods.prefix`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kzoo.adapters.config import Building
from kzoo.adapters.layers.attention import Attention
from kzoo.adapters.layers.base import AdapterLayer, Function
from kzoo.adapters.methods.prefix import PrefixConfig
from kzoo.backbones.places import Place
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
