"""The layer of `full`; see `kzoo.adapters.methods.full`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import AdapterLayer, Function
from kzoo.adapters.layers.projection import Projection
from kzoo.adapters.methods.full import FullConfig
from kzoo.backbones.places import Place


class FullLayer(AdapterLayer):
    """y = x W' + b' in place of inner(x), on the flattened projection.

    Variables: `kernel` (in, out), and `bias` (out,) where the projection has one.
    """

    mergeable = True

    def __init__(self, config: FullConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        self.projection = Projection(place.layer)
        shape = (self.projection.size_in, self.projection.size_out)
        self.kernel = self.add_weight(shape, "zeros", name="kernel")
        self.kernel.assign(self.projection.matrix())
        self.bias = None
        if self.projection.bias is not None:
            self.bias = self.add_weight((shape[1],), "zeros", name="bias")
            self.bias.assign(keras.ops.reshape(self.projection.bias, (-1,)))

    def apply(self, inner: Function, x: Any) -> Any:
        """See the class; `inner` is not asked."""
        flat = self.projection.flatten_input(x)
        if self.projection.is_embedding:
            y = keras.ops.take(self.kernel, keras.ops.cast(flat, "int32"), axis=0)
        else:
            y = keras.ops.matmul(flat, self.kernel)
        if self.bias is not None:
            y = y + self.bias
        return self.projection.unflatten_output(keras.ops.cast(y, self.compute_dtype))

    def merged(self) -> list[tuple[Any, NDArray[Any]]]:
        """W' and b'."""
        kernel = self.projection.kernel_from(np.asarray(self.kernel))
        found = [(self.projection.kernel, kernel)]
        if self.bias is not None:
            shape = tuple(self.projection.bias.shape)
            found.append((self.projection.bias, np.asarray(self.bias).reshape(shape)))
        return found
