"""The LoRA layer; formula in `kzoo.adapters.lora`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras

from kzoo.adapters.layers.site import AdapterLayer
from kzoo.adapters.lora import LoraConfig


class LoraLayer(AdapterLayer):
    """y = inner(x) + (alpha / r) reshape(flatten(x) A B), never forming the full kernel.

    Variables: `lora_a` (in, r), `lora_b` (r, out), on the flattened projection.
    """

    def __init__(self, config: LoraConfig, site: str, base: Any, name: str, seed: int) -> None:
        super().__init__(config, site, base, name)
        shape = tuple(int(size) for size in base.kernel.shape)
        # The attention output contracts (heads, head_dim); every other projection contracts one.
        split = len(shape) - 1 if site == "attention_output" else 1
        self.in_shape, self.out_shape = shape[:split], shape[split:]
        size_in, size_out = math.prod(self.in_shape), math.prod(self.out_shape)
        # PEFT's kaiming_uniform(a=sqrt(5)) on (r, in) is this uniform range.
        limit = 1 / math.sqrt(size_in)
        self.lora_a = self.add_weight(
            (size_in, config.r),
            keras.initializers.RandomUniform(-limit, limit, seed=seed),
            name="lora_a",
        )
        self.lora_b = self.add_weight((config.r, size_out), "zeros", name="lora_b")
        self.dropout = keras.layers.Dropout(config.dropout, seed=seed) if config.dropout else None
        self.built = True

    def apply(self, inner: Callable[[Any], Any], x: Any, training: bool | None) -> Any:
        """See the class."""
        ops = keras.ops
        y = inner(x)
        flat = (
            x if len(self.in_shape) == 1 else ops.reshape(x, (*_lead(x, 2), self.lora_a.shape[0]))
        )
        if self.dropout is not None:
            flat = self.dropout(flat, training=training)
        # Scaling the narrow middle costs r numbers a token instead of the output's width.
        update = ops.matmul(ops.matmul(flat, self.lora_a) * self.config.scaling, self.lora_b)
        if len(self.out_shape) > 1:
            update = ops.reshape(update, (*_lead(update, 1), *self.out_shape))
        return y + update


def _lead(x: Any, trailing: int) -> tuple[Any, ...]:
    """The leading dimensions of x, symbolic where unknown."""
    return tuple(keras.ops.shape(x))[: len(x.shape) - trailing]
