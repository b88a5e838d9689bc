"""The BitFit layer; see `kzoo.adapters.methods.bitfit`."""

from __future__ import annotations

from typing import Any

import keras
from numpy.typing import NDArray

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import AdapterLayer, Function
from kzoo.adapters.layers.delta import numbers
from kzoo.adapters.layers.norm import Norm
from kzoo.adapters.layers.projection import Projection
from kzoo.adapters.methods.bitfit import BitfitConfig
from kzoo.adapters.targets import is_norm
from kzoo.backbones.places import Place


class BitfitLayer(AdapterLayer):
    """y = inner(x) + (bias - bias of the sublayer): the sublayer with another bias.

    Variable: `bias` (out,), at norms too.
    """

    mergeable = True
    row_wise = True

    def __init__(self, config: BitfitConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        self.host: Norm | Projection
        self.host = Norm(place.layer) if is_norm(place) else Projection(place.layer)
        self.bias = self.add_weight((place.size_out,), "zeros", name="bias")
        self.bias.assign(self.host.flat_bias())

    def apply(self, inner: Function, x: Any) -> Any:
        """See the class."""
        y = inner(x)
        added = self.host.unflatten_output(self.bias - self.host.flat_bias())
        return y + keras.ops.cast(added, y.dtype)  # norms keep their numbers in float32

    def merged(self) -> list[tuple[Any, NDArray[Any]]]:
        """The trained bias in place of the sublayer's."""
        host = self.host.bias
        return [(host, numbers(self.bias).reshape(host.shape))]
