"""From token vectors to one vector a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from kzoo.errors import InputError

MODES = ("mean", "cls", "max", "last", "pooler")


def pool(x: Any, mode: str, mask: Any = None) -> Any:
    """Pools token vectors to (batch, width).

    Args:
        x: dict with `tokens` (batch, length, width), and perhaps `mask` and `pooled`; or tokens;
            or (batch, width), which stays as it is.
        mode: `mean` or `max` over the tokens whose mask is true, `cls` (the first token), `last`
            (the last one whose mask is true, where a causal model has seen the whole text), or
            `pooler` (`pooled` of the dict).
        mask: bool or int (batch, length), for tokens that come without a dict. Default: all count.

    Raises:
        InputError: An unknown mode.
    """
    if mode not in MODES:
        raise InputError(f"`pooling` must be one of {', '.join(MODES)}. Received: {mode!r}")
    if isinstance(x, Mapping):
        if mode == "pooler":
            return x["pooled"]
        x, mask = x["tokens"], x.get("mask")
    if len(x.shape) == 2:
        return x
    if mode == "cls":
        return x[:, 0, :]
    if mask is None:
        mask = ops.ones(ops.shape(x)[:2], "bool")
    if mode == "last":
        length = ops.shape(mask)[1]
        places = ops.where(ops.cast(mask, "bool"), ops.arange(length), 0)
        last = ops.max(places, axis=1)
        return ops.squeeze(ops.take_along_axis(x, last[:, None, None], axis=1), axis=1)
    real = ops.expand_dims(ops.cast(mask, x.dtype), -1)
    if mode == "max":
        return ops.max(ops.where(real > 0, x, -1e9), axis=1)
    return ops.sum(x * real, axis=1) / ops.maximum(ops.sum(real, axis=1), 1)
