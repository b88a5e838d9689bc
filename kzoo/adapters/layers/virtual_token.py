"""What the layers of prompt, P-tuning and multitask prompt tuning have in common."""

from __future__ import annotations

from typing import Any

import keras

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import AdapterLayer, Function
from kzoo.adapters.methods.prompt import VirtualTokensConfig
from kzoo.backbones.places import Place
from kzoo.backbones.virtual_tokens import VirtualTokens


class VirtualTokenLayer(AdapterLayer):
    """Gives the rows of its virtual ids.

    Which rows of a batch have the prompt is said by the ids in them and not by what is active, so
    that prompts mix in a batch and with any composition of other adapters.

    Attributes:
        first_id: The first of its ids; set when it is placed in a model, and fixed from then on.
        task: Whose ids the model writes into its inputs, where there are several tasks.
    """

    def __init__(self, config: VirtualTokensConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        self.first_id = place.size_in
        self.task = int(getattr(config, "task", 0))

    def rows(self) -> Any:
        """float (virtual ids, H): the embeddings, as another library would store them."""
        raise NotImplementedError

    def virtual_tokens(self, task: int | None = None) -> VirtualTokens:
        """What the text processor has to write into an input.

        Args:
            task: Default: the layer's `task`.
        """
        count = self.config.num_virtual_tokens
        task = self.task if task is None else task
        return VirtualTokens(self.first_id + task * count, count, self.config.position)

    def apply(self, inner: Function, x: Any) -> Any:
        """Nothing: `with_rows` does it, outside of all other adapters."""
        return inner(x)

    def with_rows(self, ids: Any, embedded: Any) -> Any:
        """Puts the rows where their ids are.

        Args:
            ids: int (batch, tokens), virtual ids included.
            embedded: float (batch, tokens, H).
        """
        ops = keras.ops
        index = ids - self.first_id
        mine = ops.logical_and(index >= 0, index < self.config.virtual_ids)
        rows = ops.cast(self.rows(), embedded.dtype)
        found = ops.take(rows, ops.clip(index, 0, self.config.virtual_ids - 1), axis=0)
        return ops.where(ops.expand_dims(mine, -1), found, embedded)
