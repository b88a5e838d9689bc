"""The layer of trainable tokens; see `kzoo.adapters.methods.tokens`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import AdapterLayer, Function
from kzoo.adapters.methods.tokens import TrainableTokensConfig
from kzoo.backbones.places import Place


class TrainableTokensLayer(AdapterLayer):
    """Replacement rows for some ids, in the order of the configuration.

    Variable: `rows` (n, H).
    """

    mergeable = True

    def __init__(self, config: TrainableTokensConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        self.indices = np.asarray(config.indices, "int32")
        self.rows = self.add_weight((len(self.indices), place.size_out), "zeros", name="rows")
        self.rows.assign(np.asarray(place.layer.embeddings)[self.indices])
        # Id -> its row, or -1.
        self.row_of = np.full(place.size_in, -1, "int32")
        self.row_of[self.indices] = np.arange(len(self.indices))

    def apply(self, inner: Function, x: Any) -> Any:
        """x: int (batch, tokens)."""
        ops = keras.ops
        y = inner(x)
        row = ops.take(self.row_of, x, axis=0)
        found = ops.take(ops.cast(self.rows, y.dtype), ops.maximum(row, 0), axis=0)
        return ops.where(ops.expand_dims(row >= 0, -1), found, y)

    def apply_reverse(self, inner: Function, x: Any) -> Any:
        """Logits (..., V) of a tied table: those of the replaced rows are computed anew."""
        ops = keras.ops
        logits = inner(x)
        table = self.place.layer
        if not table.tie_weights:
            return logits
        dtype = getattr(table, "reverse_dtype", None) or logits.dtype
        fresh = ops.matmul(ops.cast(x, dtype), ops.transpose(ops.cast(self.rows, dtype)))
        cap = getattr(table, "logit_soft_cap", None)
        if cap is not None:
            fresh = ops.tanh(fresh / cap) * cap
        size = len(self.row_of)
        column = np.where(self.row_of >= 0, size + self.row_of, np.arange(size))
        both = ops.concatenate((logits, ops.cast(fresh, logits.dtype)), axis=-1)
        return ops.take(both, column, axis=-1)

    def merged(self) -> list[tuple[Any, NDArray[Any]]]:
        """The table with the new rows in it."""
        table = np.array(self.place.layer.embeddings)
        table[self.indices] = np.asarray(self.rows)
        return [(self.place.layer.embeddings, table)]
