"""The LoRA layer; formulas in `kzoo.adapters.methods.lora`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import Function
from kzoo.adapters.layers.delta import DeltaLayer, numbers, rows_of, uniform
from kzoo.adapters.methods.lora import LoraConfig
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError


class LoraLayer(DeltaLayer):
    """y = inner(x) + s reshape(flatten(x) A B), never forming the full kernel (but for DoRA).

    Variables on the flattened projection: `lora_a` (in, r), `lora_b` (r, out); where the
    configuration asks for them `magnitude` (out,), `bias` (out,) in place of the projection's,
    `lora_b_bias` (out,), and the frozen `lora_a0` and `lora_b0`.
    """

    def __init__(self, config: LoraConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        size_in, size_out = self.projection.size_in, self.projection.size_out
        r = config.rank_at(place)
        self.scaling = config.scaling_at(place)
        # Rows of a table are looked up by row; a batch of tables would need another operation.
        self.row_wise = not self.projection.is_embedding
        self.lora_a = self.add_weight((size_in, r), self._initial_a(r), name="lora_a")
        self.lora_b = self.add_weight((r, size_out), self._initial_b(), name="lora_b")
        self.lora_a0 = self.lora_b0 = None
        if config.from_weights:
            self.lora_a0 = self.add_weight((size_in, r), "zeros", trainable=False, name="lora_a0")
            self.lora_b0 = self.add_weight((r, size_out), "zeros", trainable=False, name="lora_b0")
            a, b = self._decomposed(r)
            for variable, value in zip(
                (self.lora_a, self.lora_b, self.lora_a0, self.lora_b0), (a, b, a, b), strict=True
            ):
                variable.assign(value)
        self.magnitude = self.bias = self.lora_b_bias = None
        if config.use_dora:
            self.magnitude = self.add_weight((size_out,), "zeros", name="magnitude")
            self.magnitude.assign(keras.ops.reshape(self.column_norms(), (-1,)))
        if config.train_bias != "none" and self.projection.bias is not None:
            self.bias = self.add_weight((size_out,), "zeros", name="bias")
            self.bias.assign(self.projection.flat_bias())
        if config.lora_bias:
            self.lora_b_bias = self.add_weight((size_out,), "zeros", name="lora_b_bias")

    @property
    def reads_weights(self) -> bool:
        """See `AdapterLayer`: DoRA's norms are W's, and a trained bias stands in place of b."""
        return self.magnitude is not None or self.bias is not None

    def _initial_a(self, r: int) -> Any:
        if self.projection.is_embedding:
            return "zeros"
        if self.config.init == "gaussian":
            return keras.initializers.RandomNormal(stddev=1 / r, seed=self.seed)
        return uniform(self.projection.size_in, self.seed)

    def _initial_b(self) -> Any:
        if self.projection.is_embedding:
            return keras.initializers.RandomNormal(stddev=1.0, seed=self.seed)
        return "zeros"

    def _decomposed(self, r: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """A0 and B0 such that s A0 B0 is the chosen part of W."""
        matrix = numbers(self.projection.matrix())
        if self.config.init == "olora":
            q, upper = np.linalg.qr(matrix.T)
            return upper[:r].T, q[:, :r].T
        left, values, right = np.linalg.svd(matrix, full_matrices=False)
        root = np.sqrt(values[:r] / self.scaling)
        return left[:, :r] * root, root[:, None] * right[:r]

    def delta(self) -> Any:
        """D = s (A B - A0 B0)."""
        product = keras.ops.matmul(self.lora_a, self.lora_b)
        if self.lora_a0 is not None:
            product = product - keras.ops.matmul(self.lora_a0, self.lora_b0)
        return self.scaling * product

    def column_norms(self) -> Any:
        """The norm of each column of W + D as a constant: float32 (1, out)."""
        scaling = self.scaling if self.config.rescales_bias else 1.0
        matrix, delta = (
            keras.ops.cast(part, "float32") for part in (self.projection.matrix(), self.delta())
        )
        total = keras.ops.stop_gradient(matrix + delta / scaling)
        squares = keras.ops.sum(keras.ops.square(total), axis=-2, keepdims=True)
        return keras.ops.sqrt(keras.ops.maximum(squares, 1e-24))

    def product(self, flat: Any, a: Any, b: Any) -> Any:
        """The product s x A B of shape (..., out), for features (..., in) or token ids (...)."""
        if self.projection.is_embedding:
            # Embeddings are not cast by Keras, as their input is not; they cast their output.
            narrow = keras.ops.cast(rows_of(a, flat), self.compute_dtype)
            b = keras.ops.cast(b, self.compute_dtype)
        else:
            narrow = keras.ops.matmul(flat, a)
        # Scaling the narrow middle costs r numbers a token instead of the output's width.
        return keras.ops.matmul(narrow * self.scaling, b)

    def update(self, flat: Any) -> Any:
        """The low-rank part, flattened: (..., out)."""
        dropped = self.dropped(flat)
        y = self.product(dropped, self.lora_a, self.lora_b)
        if self.lora_a0 is not None:
            y = y - self.product(flat, self.lora_a0, self.lora_b0)
        if self.lora_b_bias is not None:
            y = y + self.scaling * self.lora_b_bias
        return y

    def apply(self, inner: Function, x: Any) -> Any:
        """See the class."""
        flat = self.projection.flatten_input(x)
        y = inner(x)
        if self.magnitude is not None:
            added = self._rescaled(self.projection.flatten_output(y), flat)
        else:
            added = self.update(flat)
        if self.bias is not None:
            added = added + (self.bias - self.projection.flat_bias())
        return y + self.projection.unflatten_output(added)

    def _rescaled(self, y: Any, flat: Any) -> Any:
        """What DoRA adds to y = x W + b: (m / norm - 1) x W_res + (m / norm) s x A B - s x A0 B0.

        With dropout, both x that are rescaled are the dropped one, as in PEFT.
        """
        dropped = self.dropped(flat)
        frozen = 0.0
        if self.lora_a0 is not None:
            frozen = self.product(flat, self.lora_a0, self.lora_b0)
        # Outside of training the projection's own output can be used; AdapterHub always does.
        if dropped is flat or self.config.rescales_bias:
            base = y - frozen
            if self.projection.bias is not None and not self.config.rescales_bias:
                base = base - self.projection.flat_bias()
        else:
            base = keras.ops.matmul(dropped, self.projection.matrix())
            if self.lora_a0 is not None:
                base = base - self.product(dropped, self.lora_a0, self.lora_b0)
        scale = keras.ops.cast(
            keras.ops.cast(self.magnitude, "float32") / self.column_norms(), y.dtype
        )
        low_rank = self.product(dropped, self.lora_a, self.lora_b)
        return (scale - 1) * base + (scale * low_rank - frozen)

    def plain_factors(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """A (in, k) and B (k, out) with D = s A B: k is r, or 2r for `pissa` and `olora`."""
        a, b = numbers(self.lora_a), numbers(self.lora_b)
        if self.lora_a0 is None:
            return a, b
        return (
            np.concatenate([a, numbers(self.lora_a0)], axis=1),
            np.concatenate([b, -numbers(self.lora_b0)], axis=0),
        )

    def merged(self) -> list[tuple[Any, NDArray[Any]]]:
        """W + D, its columns rescaled by DoRA, and the biases.

        Raises:
            AdapterError: A bias was trained and the projection has none to hold it.
        """
        projection = self.projection
        matrix = numbers(projection.matrix()) + numbers(self.delta())
        changes = []
        if self.magnitude is not None:
            scale = numbers(self.magnitude) / numbers(self.column_norms())
            matrix = matrix * scale
            if self.config.rescales_bias and projection.bias is not None:
                bias = numbers(projection.flat_bias()) * scale[0]
                changes = [(projection.bias, bias.reshape(projection.bias.shape))]
        changes.insert(0, (projection.kernel, projection.kernel_from(matrix)))
        if self.lora_b_bias is not None and projection.bias is None:
            raise AdapterError(f"`lora_bias`: {self.place.key} has no bias to merge into.")
        if self.bias is not None or self.lora_b_bias is not None:
            bias = numbers(projection.flat_bias() if self.bias is None else self.bias)
            if self.lora_b_bias is not None:
                bias = bias + self.scaling * numbers(self.lora_b_bias)
            changes.append((projection.bias, bias.reshape(projection.bias.shape)))
        return changes
