"""`kzoo.fusion.GatedCrossAttention`: tokens look at knowledge, through a gate that starts shut."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kzoo.errors import InputError
from kzoo.fusion import FUSIONS
from kzoo.fusion.fusion import Fusion

_NEVER = -1e9


@FUSIONS.register("gated_cross_attention")
@keras.saving.register_keras_serializable(package="kzoo")
class GatedCrossAttention(Fusion):
    """Cross-attention and a feed-forward part, each added through tanh of a gate at 0.

    ``h = x + tanh(a) Attention(LN(x), k)``, ``y = h + tanh(b) FFN(LN(h))`` with a = b = 0 at the
    start, so that the layer begins as the identity and a pretrained trunk is not disturbed
    (Alayrac et al. 2022, Flamingo, arXiv:2204.14198, section 2.2). Attention weights are
    ``softmax(q k^T / sqrt(d) + scores)`` over the items that are there.

    Args:
        num_heads: Attention heads.
        head_dim: Size of a head. Default: width of the tokens over `num_heads`.
        ffn_factor: Hidden size of the feed-forward part over the width; 0 leaves it out.
        dropout: Of the attention weights, in training.
        seed: Decides initial values and dropout.
        **kwargs: `name`, `dtype`, as in every Keras layer.

    Raises:
        InputError: The width is no multiple of `num_heads`, and `head_dim` is not given.
    """

    kind = "gated_cross_attention"

    def __init__(
        self,
        num_heads: int,
        head_dim: int | None = None,
        ffn_factor: int = 4,
        dropout: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if num_heads < 1 or ffn_factor < 0:
            raise InputError(
                "`num_heads` must be at least 1 and `ffn_factor` at least 0. "
                f"Received: {num_heads}, {ffn_factor}"
            )
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.ffn_factor = ffn_factor
        self.dropout = dropout
        self.seed = seed

    def build(self, tokens_shape: Any, knowledge_shape: Any) -> None:
        """Makes the parts."""
        width = _size(tokens_shape)
        head_dim = self.head_dim or width // self.num_heads
        if self.head_dim is None and width % self.num_heads:
            raise InputError(
                f"`num_heads` {self.num_heads} does not divide the width {width}. Pass `head_dim`."
            )
        inner = self.num_heads * head_dim
        self.norm = self._part(keras.layers.LayerNormalization, width, name="norm")
        self.query = self._part(keras.layers.Dense, width, 1, units=inner, name="query")
        self.key = self._part(
            keras.layers.Dense, _size(knowledge_shape), 2, units=inner, name="key"
        )
        self.value = self._part(
            keras.layers.Dense, _size(knowledge_shape), 3, units=inner, name="value"
        )
        self.output_dense = self._part(keras.layers.Dense, inner, 4, units=width, name="output")
        self.weights_dropout = keras.layers.Dropout(self.dropout, seed=self.seed)
        self.attention_gate = self.add_weight((), "zeros", name="attention_gate")
        if self.ffn_factor:
            hidden = self.ffn_factor * width
            self.ffn_norm = self._part(keras.layers.LayerNormalization, width, name="ffn_norm")
            self.ffn_hidden = self._part(
                keras.layers.Dense, width, 5, units=hidden, activation="gelu", name="ffn_hidden"
            )
            self.ffn_output = self._part(keras.layers.Dense, hidden, 6, units=width, name="ffn_out")
            self.ffn_gate = self.add_weight((), "zeros", name="ffn_gate")

    def _part(self, cls: Any, size: int, number: int = 0, **options: Any) -> Any:
        """A built layer on vectors of a size, with its own seed."""
        if "units" in options:
            options["kernel_initializer"] = keras.initializers.GlorotUniform(
                seed=self.seed * 7 + number
            )
        part = cls(dtype=self.dtype_policy, **options)
        part.build((None, None, size))
        return part

    def fuse(
        self,
        tokens: Any,
        knowledge: Any,
        mask: Any,
        knowledge_mask: Any,
        scores: Any,
        training: bool | None,
    ) -> Any:
        """See `Fusion`."""
        q = self._heads(self.query(self.norm(tokens)))
        k, v = self._heads(self.key(knowledge)), self._heads(self.value(knowledge))
        logits = ops.einsum("bqhd,bkhd->bhqk", q, k) / ops.sqrt(ops.cast(ops.shape(q)[-1], q.dtype))
        logits = ops.cast(logits, "float32")
        if scores is not None:
            logits = logits + ops.cast(scores, "float32")[:, None, None, :]
        logits = ops.where(knowledge_mask[:, None, None, :], logits, _NEVER)
        weights = ops.cast(ops.softmax(logits, axis=-1), v.dtype)
        weights = self.weights_dropout(weights, training=training)
        seen = ops.einsum("bhqk,bkhd->bqhd", weights, v)
        seen = self.output_dense(ops.reshape(seen, (*ops.shape(seen)[:2], -1)))
        tokens = tokens + ops.cast(ops.tanh(self.attention_gate), seen.dtype) * seen
        if self.ffn_factor:
            more = self.ffn_output(self.ffn_hidden(self.ffn_norm(tokens)))
            tokens = tokens + ops.cast(ops.tanh(self.ffn_gate), more.dtype) * more
        return tokens

    def _heads(self, x: Any) -> Any:
        """(batch, n, heads * d) to (batch, n, heads, d)."""
        batch, count, inner = ops.shape(x)
        return ops.reshape(x, (batch, count, self.num_heads, inner // self.num_heads))

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "head_dim": self.head_dim,
            "ffn_factor": self.ffn_factor,
            "dropout": self.dropout,
            "seed": self.seed,
        }


def _size(shape: Any) -> int:
    """The last axis of what is called with, a dict or not."""
    if isinstance(shape, dict):
        shape = shape.get("tokens") or shape["vectors"]
    return int(shape[-1])
