"""Layers with trained copies of a model's own numbers; see `kzoo.adapters.methods.copies`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import AdapterLayer, Function, like
from kzoo.adapters.layers.delta import Projection, numbers, token_table
from kzoo.adapters.methods.copies import (
    BeftConfig,
    BitfitConfig,
    FullConfig,
    LnConfig,
    TrainableTokensConfig,
)
from kzoo.adapters.targets import is_norm
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError


class BitfitLayer(AdapterLayer):
    """y = inner(x) + (bias - bias of the sublayer): the sublayer with another bias.

    Variable: `bias` (out,), at norms too.
    """

    mergeable = True
    row_wise = True

    reads_weights = True  # type: ignore[assignment]

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


class BeftLayer(AdapterLayer):
    """y = inner(x) + b, on the flattened projection.

    Variable: `beft_bias` (out,).
    """

    row_wise = True

    adds = True  # type: ignore[assignment]

    def __init__(self, config: BeftConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        self.projection = Projection(place.layer)
        self.mergeable = self.projection.bias is not None
        self.beft_bias = self.add_weight((self.projection.size_out,), "zeros", name="beft_bias")

    def apply(self, inner: Function, x: Any) -> Any:
        """See the class."""
        y = self.projection.flatten_output(inner(x))
        return self.projection.unflatten_output(y + like(y, self.beft_bias))

    def merged(self) -> list[tuple[Any, NDArray[Any]]]:
        """Both biases as one.

        Raises:
            AdapterError: The projection has none.
        """
        host = self.projection.bias
        if host is None:
            raise AdapterError(f"`beft`: {self.place.key} has no bias to merge into.")
        bias = numbers(self.projection.flat_bias()) + numbers(self.beft_bias)
        return [(host, bias.reshape(host.shape))]


class LnLayer(AdapterLayer):
    """y = inner(x) + n(x) (gamma - gamma of the norm) + (beta - beta of the norm).

    Which is the norm with the other numbers; written as a difference, it composes with adapters
    that stand below, and is exactly zero before training.

    Variables: `gamma` (H,), and `beta` (H,) where the norm has one; in Gemma, whose norms scale by
    1 + gamma, as in its files.
    """

    mergeable = True
    row_wise = True

    reads_weights = True  # type: ignore[assignment]

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


class TrainableTokensLayer(AdapterLayer):
    """Replacement rows for some ids, in the order of the configuration.

    Variable: `rows` (n, H).
    """

    mergeable = True

    def __init__(self, config: TrainableTokensConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building.name)
        self.indices = np.asarray(config.indices, "int32")
        self.rows = self.add_weight((len(self.indices), place.size_out), "zeros", name="rows")
        self.rows.assign(token_table(place.layer)[self.indices])
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
