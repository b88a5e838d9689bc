"""Places: the sublayers of a model that an adapter may stand at, their names and their widths."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# The names are the same for every family of backbones; the attribute paths are not.
SITES = (
    "query",
    "key",
    "value",
    "attention_output",
    "attention_norm",
    "attention",
    "ffn_intermediate",
    "ffn_gate",
    "ffn_output",
    "ffn_norm",
    "block",
    "token_embedding",
    "position_embedding",
    "embeddings_norm",
    "final_norm",
    "pooler",
)
LINEAR_SITES = (
    "query",
    "key",
    "value",
    "attention_output",
    "ffn_intermediate",
    "ffn_gate",
    "ffn_output",
    "pooler",
)
NORM_SITES = ("attention_norm", "ffn_norm", "embeddings_norm", "final_norm")


@dataclass(frozen=True)
class Place:
    """One sublayer, or by arithmetic the sizes of one.

    Args:
        key: Unique name, part of file keys, such as `blocks.3.query` or `decoder.0.cross_value`.
        site: What kind of sublayer it is; one of `SITES`, or the layer's own
            name in a model that is no backbone.
        name: As `site`, but `cross_query` and so on in a decoder's cross-attention.
        size_in: Width of what comes in: features, or rows of an embedding table.
        size_out: Width of what goes out. For `attention`: the width of keys and values.
        bias: Whether the sublayer has a bias (or a norm its beta).
        block: Number of the Transformer block, counted over all stacks (encoder first), or None
            outside the blocks.
        layer: The Keras layer; None where only sizes are known.
        method: Which of the layer's methods an adapter stands around.
        pre_norm: Whether the blocks normalise what goes into a sublayer (GPT-2, Llama, T5) and not
            the sum of residual and sublayer (BERT).
    """

    key: str
    site: str
    name: str
    size_in: int
    size_out: int
    bias: bool = True
    block: int | None = None
    layer: Any = None
    method: str = "call"
    pre_norm: bool = False

    @property
    def whole_call(self) -> bool:
        """Whether an adapter here sees `(args, kwargs)` of the call instead of its first tensor."""
        return self.method != "call" or self.site in (
            "attention",
            "position_embedding",
            "block",
        )

    def matches(self, target: str) -> bool:
        """Whether a target of a configuration means this place: by site, name or whole key."""
        return target in (self.site, self.name, self.key)


def sites_of(places: Iterable[Place]) -> list[str]:
    """The different names of places, in order, for messages."""
    return list(dict.fromkeys(place.name for place in places))


def einsum_axes(equation: str) -> tuple[list[int], list[int]]:
    """Which kernel axes of an EinsumDense are contracted, and which ones come out.

    Both in the order in which the axes stand in the input and in the output, so that a kernel
    transposed to contracted + produced axes is the matrix of the flattened projection. Gemma's
    `btd,ndh->btnh` gives ([1], [0, 2]).

    Args:
        equation: Such as `abc,cde->abde`.
    """
    operands, _, output = equation.replace(" ", "").partition("->")
    source, kernel = operands.split(",")
    contracted = [kernel.index(axis) for axis in source if axis in kernel and axis not in output]
    produced = [kernel.index(axis) for axis in output if axis in kernel]
    return contracted, produced


def layer_sizes(layer: Any) -> tuple[int, int, bool]:
    """(size_in, size_out, has a bias) of a dense, embedding, norm or attention layer.

    Blocks and other layers without a kernel of their own have sizes 0.
    """
    kind = type(layer).__name__
    if hasattr(layer, "equation"):
        shape = tuple(int(size) for size in layer.kernel.shape)
        contracted, produced = einsum_axes(layer.equation)
        sizes = [math.prod(shape[axis] for axis in axes) for axes in (contracted, produced)]
        return sizes[0], sizes[1], layer.bias is not None
    if kind == "Dense":
        size_in, size_out = (int(size) for size in layer.kernel.shape)
        return size_in, size_out, layer.bias is not None
    if hasattr(layer, "embeddings") and hasattr(layer, "output_dim"):
        return int(layer.input_dim), int(layer.output_dim), False
    if hasattr(layer, "position_embeddings"):
        rows, width = (int(size) for size in layer.position_embeddings.shape)
        return rows, width, False
    if kind.endswith(("Norm", "Normalization")):
        weights = [v for v in layer.weights if v.path.rpartition("/")[2] != "beta"]
        size = int(weights[0].shape[0])
        return size, size, len(layer.weights) > len(weights)
    if hasattr(layer, "_key_dense") or hasattr(layer, "key_dense"):
        parts = [
            getattr(layer, f"_{name}_dense", None) or getattr(layer, f"{name}_dense")
            for name in ("query", "key")
        ]
        return layer_sizes(parts[0])[1], layer_sizes(parts[1])[1], False
    if hasattr(layer, "key_projector"):  # T5
        return layer_sizes(layer.query_projector)[1], layer_sizes(layer.key_projector)[1], False
    return 0, 0, False
