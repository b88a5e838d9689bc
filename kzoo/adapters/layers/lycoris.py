"""What LoHa and LoKr share: dropout of single outputs, and of whole updates."""

from __future__ import annotations

from typing import Any

import keras

from kzoo.adapters.config import Building
from kzoo.adapters.layers.delta import DeltaLayer, KeepMask
from kzoo.backbones.places import Place
from kzoo.seeds import derive_seed


class LycorisLayer(DeltaLayer):
    """A matrix is added; in training some of its columns, or all of it, are left out."""

    def __init__(self, config: Any, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        self.rank_dropout = self.module_dropout = None
        if config.rank_dropout:
            self.rank_dropout = KeepMask(config.rank_dropout, derive_seed(self.seed, "rank"))
        if config.module_dropout:
            self.module_dropout = KeepMask(config.module_dropout, derive_seed(self.seed, "module"))

    def product(self, flat: Any) -> Any:
        """The update before dropout: (..., out)."""
        return super().update(flat)

    def update(self, flat: Any) -> Any:
        """The update with what is dropped at zero: (..., out)."""
        y = self.product(flat)
        if self.rank_dropout is not None:
            mask = self.rank_dropout(keras.ops.ones((self.projection.size_out,), y.dtype))
            if self.config.rank_dropout_scale:
                # All may be dropped at once, and 0 / 0 is no number.
                mask = mask / keras.ops.maximum(keras.ops.mean(mask), 1 / mask.shape[0])
            y = y * mask
        if self.module_dropout is not None:
            y = y * self.module_dropout(keras.ops.ones((1,), y.dtype))
        return y
