"""The calling convention of fusion layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
from keras import ops

from kzoo.errors import InputError


class Fusion(keras.layers.Layer):  # type: ignore[misc]
    """Mixes token vectors with knowledge: `layer(tokens, knowledge, ...) -> tokens`.

    - `tokens`: float (batch, length, width), or the dict that a `kzoo.Trunk` or another fusion
      layer gives. A dict goes in, a dict comes out (`tokens` and `mask`, without what the fusion
      has made stale), so that heads and further layers find the mask.
    - `knowledge`: float (batch, items, size), or (batch, items, length, size) for items that are
      token vectors themselves; or a dict with `tokens` or `vectors`, and perhaps `mask` and
      `scores`: what another trunk, a retriever or a graph gives.
    - `mask`: bool (batch, length), of the tokens. Default: the dict's.
    - `knowledge_mask`: bool (batch, items[, length]). Default: the dict's, else an item that is
      all zeros is none (`kzoo.ArrayInput` pads with zeros).
    - `scores`: float (batch, items), the log of each item's weight. Default: the dict's, else
      equal ones.

    A row without knowledge comes out bit-equal. Subclasses give `fuse`, are registered in
    `kzoo.fusion.FUSIONS` and with Keras, and have `get_config`.
    """

    kind: ClassVar[str]
    ignores_pooled = True  # of a trunk's dict

    def call(
        self,
        tokens: Any,
        knowledge: Any,
        mask: Any = None,
        knowledge_mask: Any = None,
        scores: Any = None,
        training: bool | None = None,
    ) -> Any:
        """See the class."""
        given = tokens
        mask, knowledge_mask = _own_mask(mask), _own_mask(knowledge_mask)
        if isinstance(given, Mapping):
            tokens = given["tokens"]
            mask = given.get("mask") if mask is None else mask
        items, knowledge_mask, scores = _items(knowledge, knowledge_mask, scores)
        fused = self.fuse(tokens, items, mask, knowledge_mask, scores, training)
        known = ops.any(knowledge_mask, axis=1)
        fused = ops.where(ops.reshape(known, (-1, 1, 1)), ops.cast(fused, tokens.dtype), tokens)
        if not isinstance(given, Mapping):
            return fused
        return {"tokens": fused} if mask is None else {"tokens": fused, "mask": mask}

    def fuse(
        self,
        tokens: Any,
        knowledge: Any,
        mask: Any,
        knowledge_mask: Any,
        scores: Any,
        training: bool | None,
    ) -> Any:
        """The mixture itself.

        Args:
            tokens: float (batch, length, width).
            knowledge: float (batch, items, size).
            mask: bool (batch, length), or None.
            knowledge_mask: bool (batch, items). Rows without any item are put right afterwards;
                they only have to stay finite.
            scores: float (batch, items), or None.
            training: Whether dropout is on.

        Returns:
            float (batch, length, width).
        """
        raise NotImplementedError


def _own_mask(mask: Any) -> Any:
    """A mask that was passed; for an argument that is a dict Keras passes a dict of its masks."""
    return None if isinstance(mask, Mapping) else mask


def _items(knowledge: Any, mask: Any, scores: Any) -> tuple[Any, Any, Any]:
    """Knowledge in any form as vectors (batch, items, size), their mask and scores."""
    if isinstance(knowledge, Mapping):
        mask = knowledge.get("mask") if mask is None else mask
        scores = knowledge.get("scores") if scores is None else scores
        name = next((key for key in ("tokens", "vectors") if key in knowledge), None)
        if name is None:
            raise InputError(
                "`knowledge` as a dict must have `tokens` or `vectors`. "
                f"Received: {sorted(knowledge)}"
            )
        knowledge = knowledge[name]
    rank = len(knowledge.shape)
    if rank not in (3, 4):
        raise InputError(
            "`knowledge` must be (batch, items, size) or (batch, items, length, size). "
            f"Received shape: {tuple(knowledge.shape)}"
        )
    if mask is None:
        mask = ops.any(ops.not_equal(knowledge, 0), axis=-1)
    mask = ops.cast(mask, "bool")
    if rank == 4:
        _, items, length, size = ops.shape(knowledge)
        if len(mask.shape) == 2:
            mask = ops.broadcast_to(ops.expand_dims(mask, -1), ops.shape(knowledge)[:3])
        if scores is not None:
            scores = ops.repeat(scores, length, axis=1)
        knowledge = ops.reshape(knowledge, (-1, items * length, size))
        mask = ops.reshape(mask, (-1, items * length))
    return knowledge, mask, scores
