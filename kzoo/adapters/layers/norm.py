"""A norm layer of any family as the affine map it is: normalised input times scale plus bias."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kzoo.errors import AdapterError


class Norm:
    """Views a layer norm or RMS norm as y = n(x) (scale + c) + bias, c 0 or (Gemma) 1.

    Args:
        layer: A built layer.

    Attributes:
        scale: Its variable for the scale.
        bias: Its variable for the shift (beta), or None.
        size: Number of features.

    Raises:
        AdapterError: The layer computes something else.
    """

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self.bias: Any = getattr(layer, "beta", None)
        others = [v for v in layer.weights if v is not self.bias]
        self.scale = others[0] if len(others) == 1 else None
        self.centred = isinstance(layer, keras.layers.LayerNormalization)
        if self.scale is None or len(self.scale.shape) != 1 or not self._is_affine():
            raise AdapterError(
                f"{type(layer).__name__} `{layer.name}` is no layer norm or RMS norm over the last "
                "axis with a trained scale."
            )

    @property
    def size(self) -> int:
        """Number of features."""
        return int(self.scale.shape[0])  # type: ignore[union-attr]

    def flat_bias(self) -> Any:
        """The bias as a tensor (size,), as `Projection.flat_bias`."""
        return keras.ops.convert_to_tensor(self.bias)

    def unflatten_output(self, y: Any) -> Any:
        """(..., size) in the shape that the layer gives, which is the same."""
        return y

    def normalised(self, x: Any) -> Any:
        """n(x) in float32, of the shape of x."""
        x = keras.ops.cast(x, "float32")
        if self.centred:
            x = x - keras.ops.mean(x, axis=-1, keepdims=True)
        squares = keras.ops.mean(keras.ops.square(x), axis=-1, keepdims=True)
        return x * keras.ops.rsqrt(squares + self.layer.epsilon)

    def _is_affine(self) -> bool:
        # Families write their own norms; better to ask this one than to trust its name.
        x = np.random.default_rng(0).normal(1.0, 1.0, (1, self.size)).astype("float32")
        y = type(self.layer).call(self.layer, keras.ops.convert_to_tensor(x))
        y = np.asarray(keras.ops.cast(y, "float32"))
        scale = np.asarray(keras.ops.cast(self.scale, "float32"))
        if self.bias is not None:
            y = y - np.asarray(keras.ops.cast(self.bias, "float32"))
        normalised = np.asarray(self.normalised(x))
        low = keras.backend.standardize_dtype(self.layer.compute_dtype) != "float32"
        near = 1e-1 if low else 1e-3
        return any(np.allclose(y, normalised * (scale + c), near, near) for c in (0.0, 1.0))
