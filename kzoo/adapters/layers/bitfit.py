"""The BitFit layer; see `kzoo.adapters.methods.bitfit`."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from kzoo.adapters.config import Building
from kzoo.adapters.layers.delta import numbers
from kzoo.adapters.layers.norm import Norm
from kzoo.adapters.layers.projection import Projection
from kzoo.adapters.layers.site import AdapterLayer, Function
from kzoo.adapters.methods.bitfit import BitfitConfig
from kzoo.adapters.targeted import is_norm
from kzoo.backbones.places import Place


class BitfitLayer(AdapterLayer):
    """y = inner(x) + (bias - bias of the sublayer): the sublayer with another bias.

    Variable: `bias` (out,), at norms too.
    """

    mergeable = True
    row_wise = True

    def __init__(self, config: BitfitConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        self.projection = None if is_norm(place) else Projection(place.layer)
        self.norm = Norm(place.layer) if is_norm(place) else None
        self.bias = self.add_weight((place.size_out,), "zeros", name="bias")
        self.bias.assign(self._host())

    def _host(self) -> Any:
        return self.norm.shift if self.projection is None else self.projection.flat_bias()

    def apply(self, inner: Function, x: Any) -> Any:
        """See the class."""
        added = self.bias - self._host()
        if self.projection is not None:
            added = self.projection.unflatten_output(added)
        return inner(x) + added

    def merged(self) -> list[tuple[Any, NDArray[Any]]]:
        """The trained bias in place of the sublayer's."""
        host = self.norm.shift if self.projection is None else self.projection.bias
        return [(host, numbers(self.bias).reshape(host.shape))]
