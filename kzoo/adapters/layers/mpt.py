"""The layer of multitask prompt tuning; formula in `kzoo.adapters.methods.mpt`."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from kzoo.adapters.config import Building
from kzoo.adapters.layers.virtual_token import VirtualTokenLayer
from kzoo.adapters.methods.mpt import MultitaskPromptConfig
from kzoo.backbones.places import Place


class MultitaskPromptLayer(VirtualTokenLayer):
    """Rows of all tasks, one task after the other.

    Variables: `prompt` (P, H), `task_cols` (T, P, r), `task_rows` (T, r, H).
    """

    def __init__(self, config: MultitaskPromptConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        tokens, width = config.num_virtual_tokens, place.size_out
        tasks, ranks = config.num_tasks, config.num_ranks
        rng = np.random.default_rng(building.seed_at(place))
        table = np.asarray(place.layer.embeddings)
        # Rows and columns whose product is near 1, with noise that keeps ranks from being equal.
        near = 1 / math.sqrt(ranks)
        starts = {
            "prompt": table[rng.integers(0, len(table), tokens)],
            "task_cols": rng.normal(near, 0.02, (tasks, tokens, ranks)),
            "task_rows": rng.normal(near, 0.02, (tasks, ranks, width)),
        }
        for name, value in starts.items():
            variable = self.add_weight(value.shape, "zeros", name=name)
            variable.assign(value)
            setattr(self, name, variable)

    def rows(self) -> Any:
        """float (T P, H)."""
        ops = keras.ops
        prompts = self.prompt * ops.matmul(self.task_cols, self.task_rows)
        return ops.reshape(prompts, (self.config.virtual_ids, self.place.size_out))
