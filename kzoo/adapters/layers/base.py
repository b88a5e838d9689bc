"""What the Keras layers of all methods have in common, and compute with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.backbones.places import Place
from kzoo.errors import AdapterError
from kzoo.seeds import derive_seed

Function = Callable[[Any], Any]


class AdapterLayer(keras.layers.Layer):  # type: ignore[misc]
    """Base of the methods' layers: turns a function of x into an adapted function of x.

    Args:
        config: The method's configuration.
        place: Where it stands. Its layer is read, never owned.
        name: The adapter's name.
    """

    # Whether `apply` is made of matrix products and sums on (rows, tokens, features), so that it
    # holds for variables with a row axis in front too; see `kzoo.adapters.acting.rows`.
    row_wise = False
    mergeable = False  # whether `merged` folds the adapter into the sublayer's own variables

    @property
    def adds(self) -> bool:
        """Whether it adds the same to any function: inner(x) + f(x); such ones commute."""
        return False

    @property
    def reads_weights(self) -> bool:
        """Whether what it computes depends on the sublayer's numbers, beside inner(x)."""
        return False

    def __init__(self, config: Any, place: Place, name: str) -> None:
        super().__init__(name=name, dtype=with_float32_variables(place))
        self.config = config
        # In a tuple inside a plain object: the sublayer belongs to the backbone.
        self._where = _Untracked(place)
        self.built = True  # subclasses make their variables in the constructor

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self._where.value  # type: ignore[no-any-return]

    def apply(self, inner: Function, x: Any) -> Any:
        """The adapted function at x.

        Args:
            inner: What stands below: the sublayer, or another adapter around it.
            x: The sublayer's input. Dropout inside follows Keras' call context.

        Returns:
            A tensor of the shape of `inner(x)`.
        """
        raise NotImplementedError

    def merged(self) -> list[tuple[Any, NDArray[Any]]]:
        """The sublayer's variables and the values that make it compute the adapted function.

        Raises:
            AdapterError: The method does not change the sublayer in a linear way.
        """
        raise AdapterError(
            f"`{self.config.method}` at {self.place.key} cannot be merged: it is no linear change "
            "of the layer's weights."
        )

    def check_finite(self) -> None:
        """Refuses to merge numbers that are not.

        Raises:
            AdapterError: A variable holds NaN or infinity.
        """
        for variable in self.weights:
            if not np.isfinite(np.asarray(variable)).all():
                raise AdapterError(f"`{variable.name}` at {self.place.key} is not finite.")


def with_float32_variables(place: Place) -> Any:
    """The policy of an adapter at a layer: variables of a half-precision trunk are float32.

    An optimizer's small steps vanish in a half-precision variable: 1 + 1e-3 is 1 in bfloat16.
    """
    policy = place.layer.dtype_policy if place.layer is not None else None
    if policy is None or policy.variable_dtype == "float32":
        return policy
    return keras.DTypePolicy(f"mixed_{policy.compute_dtype}")


class _Untracked:
    """A box that Keras' attribute tracking does not look into."""

    def __init__(self, value: Any) -> None:
        self.value = value


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "relu": keras.ops.relu,
    "swish": keras.ops.silu,
    "silu": keras.ops.silu,
    "gelu": lambda x: keras.ops.gelu(x, approximate=False),
    "gelu_new": lambda x: keras.ops.gelu(x, approximate=True),
    "tanh": keras.ops.tanh,
    "leakyrelu": lambda x: keras.ops.leaky_relu(x, negative_slope=0.01),
}


def like(x: Any, variable: Any) -> Any:
    """A variable in the type of x. Layer norms switch Keras' own casting off while they run."""
    return keras.ops.cast(variable, x.dtype)


def dense(x: Any, kernel: Any, bias: Any) -> Any:
    """x W + b in the type of x: (..., in) -> (..., out)."""
    return keras.ops.matmul(x, like(x, kernel)) + like(x, bias)


def gate(u: Any, kernel: Any, bias: Any) -> Any:
    """The gate of UniPELT: mean over the tokens of sigmoid(u W + b), (rows, 1, gates).

    Mao et al. 2022, arXiv:2110.07577.

    Args:
        u: (rows, tokens, H), or (rows, H), which is then one token.
        kernel: (H, gates).
        bias: (gates,).
    """
    each = keras.ops.sigmoid(dense(u, kernel, bias))
    return keras.ops.mean(each, axis=1, keepdims=True) if len(u.shape) > 2 else each


def add_gate(layer: Any, width: int, gates: int, seed: int) -> None:
    """Makes the variables `gate_kernel` (width, gates) and `gate_bias` (gates,)."""
    start = keras.initializers.RandomNormal(stddev=0.02, seed=derive_seed(seed, "gate"))
    layer.gate_kernel = layer.add_weight((width, gates), start, name="gate_kernel")
    layer.gate_bias = layer.add_weight((gates,), "zeros", name="gate_bias")
