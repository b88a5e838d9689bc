"""The LayerNorm tuning layer; see `kzoo.adapters.methods.ln`."""

from __future__ import annotations

from typing import Any

import keras
from numpy.typing import NDArray

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import AdapterLayer, Function
from kzoo.adapters.layers.delta import numbers
from kzoo.adapters.layers.norm import Norm
from kzoo.adapters.methods.ln import LnConfig
from kzoo.backbones.places import Place


class LnLayer(AdapterLayer):
    """y = inner(x) + n(x) (gamma - gamma of the norm) + (beta - beta of the norm).

    Which is the norm with the other numbers; written as a difference, it composes with adapters
    that stand below, and is exactly zero before training.

    Variables: `gamma` (H,), and `beta` (H,) where the norm has one; in Gemma, whose norms scale by
    1 + gamma, as in its files.
    """

    mergeable = True
    row_wise = True

    def __init__(self, config: LnConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        self.norm = Norm(place.layer)
        self.gamma = self.add_weight((self.norm.size,), "ones", name="gamma")
        self.gamma.assign(self.norm.scale)
        self.beta = None
        if self.norm.bias is not None:
            self.beta = self.add_weight((self.norm.size,), "zeros", name="beta")
            self.beta.assign(self.norm.bias)

    def apply(self, inner: Function, x: Any) -> Any:
        """See the class."""
        y = inner(x)
        added = self.norm.normalised(x) * _difference(self.gamma, self.norm.scale)
        if self.beta is not None:
            added = added + _difference(self.beta, self.norm.bias)
        return y + keras.ops.cast(added, y.dtype)

    def merged(self) -> list[tuple[Any, NDArray[Any]]]:
        """The trained numbers in place of the norm's."""
        changes = [(self.norm.scale, numbers(self.gamma))]
        if self.beta is not None:
            changes.append((self.norm.bias, numbers(self.beta)))
        return changes


def _difference(new: Any, old: Any) -> Any:
    return keras.ops.cast(new, "float32") - keras.ops.cast(old, "float32")
