"""`CandidateHead`: a number for each of a row's candidates, all by one output layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from kzoo.errors import InputError
from kzoo.heads.head import Head
from kzoo.heads.pooling import pool
from kzoo.reads.choices import ChoicesInput
from kzoo.trunk.layer import Trunk

ABSENT = -1e9  # the number of a candidate that a row does not have


class CandidateHead(Head):
    """Gives candidates numbers; outputs float32 (batch, k), -1e9 where a row has fewer.

    Called on a list of what a trunk gives for each of k inputs, such as those of
    `kzoo.ChoicesInput`, or on one of these (k = 1). All are answered by the same output layer of
    one unit, so that an adapter's file fits models of any k.

    Args:
        k: The most candidates of a row. Default: the length of the list.
        **kwargs: As `kzoo.heads.Head`.
    """

    def __init__(self, k: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if k is not None and k < 1:
            raise InputError(f"`k` must be at least 1. Received: {k}")
        self.k = k

    def make_input(self, trunk: Trunk) -> Any:
        """See `Head`.

        Raises:
            InputError: `k` was not given.
        """
        if self.k is None:
            raise InputError(
                f"`k` of the head `{self.name}` must be given: the most candidates of a row."
            )
        return ChoicesInput(trunk, self.k)

    def build(self, input_shape: Any) -> None:
        """See `Head`."""
        shapes = _each(input_shape, Mapping, tuple)
        if self.k not in (None, len(shapes)):
            raise InputError(
                f"`k` of the head `{self.name}` is {self.k}, but it is called on {len(shapes)} "
                "inputs."
            )
        self.k = len(shapes)
        super().build(shapes[0])

    def call(self, x: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Pools each candidate, drops out, answers.

        Args:
            x: A list of k dicts with `tokens` (batch, length, width) and `mask`, or of k tensors
                (batch, width) or (batch, length, width); or one of these.
            mask: Not used: a dict has its own.
            training: Whether dropout is on.
        """
        every = _each(x, Mapping)
        pooled = ops.stack([pool(one, self.pooling or "mean") for one in every], axis=1)
        numbers = self.answer(self.head_dropout(pooled, training=training))[..., 0]
        return ops.where(ops.stack([_there(one) for one in every], axis=1), numbers, ABSENT)

    @property
    def units(self) -> int:
        """k."""
        return self.k or 1

    def present(self, outputs: NDArray[Any]) -> NDArray[np.bool_]:
        """bool (n, k): which candidates the rows have, from what `predict` gives."""
        found: NDArray[np.bool_] = np.asarray(outputs) > ABSENT / 2
        return found

    def get_config(self) -> dict[str, Any]:
        """See `Head`."""
        return {**super().get_config(), "k": self.k}


def _each(x: Any, *whole: type) -> Sequence[Any]:
    """A list of inputs, one of which may stand for itself."""
    alone = isinstance(x, whole) or not isinstance(x, (list, tuple))
    return [x] if alone else list(x)


def _there(x: Any) -> Any:
    """bool (batch,): whether an input has any token."""
    if isinstance(x, Mapping):
        mask = x.get("encoder_mask", x.get("mask"))  # a decoder always has its start token
        if mask is not None:
            return ops.any(ops.cast(mask, "bool"), axis=-1)
        x = x["tokens"]
    return ops.ones(ops.shape(x)[:1], "bool")
