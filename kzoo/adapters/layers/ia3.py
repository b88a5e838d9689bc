"""The IA3 layer; formulas in `kzoo.adapters.methods.ia3`."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import AdapterLayer, Function
from kzoo.adapters.layers.delta import Projection, numbers
from kzoo.adapters.methods.ia3 import Ia3Config
from kzoo.backbones.places import Place


class Ia3Layer(AdapterLayer):
    """y = l * inner(x), or y = inner(l * x), on the flattened projection.

    Variable: `ia3_l` (out,) or (in,).
    """

    mergeable = True
    row_wise = True

    def __init__(self, config: Ia3Config, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        self.projection = Projection(place.layer)
        self.rescales_input = config.rescales_input(place)
        size = self.projection.size_in if self.rescales_input else self.projection.size_out
        self.ia3_l = self.add_weight((size,), "ones", name="ia3_l")

    def apply(self, inner: Function, x: Any) -> Any:
        """See the class."""
        projection = self.projection
        if self.rescales_input:
            return inner(projection.unflatten_input(projection.flatten_input(x) * self.ia3_l))
        return projection.unflatten_output(projection.flatten_output(inner(x)) * self.ia3_l)

    def merged(self) -> list[tuple[Any, NDArray[Any]]]:
        """Rows of W rescaled, or columns and the bias."""
        projection = self.projection
        matrix, scale = numbers(projection.matrix()), numbers(self.ia3_l)
        if self.rescales_input:
            return [(projection.kernel, projection.kernel_from(matrix * scale[:, None]))]
        changes = [(projection.kernel, projection.kernel_from(matrix * scale))]
        if projection.bias is not None:
            bias = numbers(projection.flat_bias()) * scale
            changes.append((projection.bias, bias.reshape(projection.bias.shape)))
        return changes
