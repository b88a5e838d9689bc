"""A place: one sublayer of a model that an adapter may stand at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Place:
    """One sublayer, or by arithmetic the sizes of one.

    Args:
        key: Unique name, part of file keys, such as `blocks.3.query` or `decoder.0.cross_value`.
        site: What kind of sublayer it is; one of `kzoo.backbones.families.SITES`, or the layer's
            own name in a model that is no backbone.
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
