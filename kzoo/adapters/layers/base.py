"""What the Keras layers of all methods have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kzoo.backbones.places import Place
from kzoo.errors import AdapterError

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

    def __init__(self, config: Any, place: Place, name: str) -> None:
        policy = place.layer.dtype_policy if place.layer is not None else None
        super().__init__(name=name, dtype=policy)
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


class _Untracked:
    """A box that Keras' attribute tracking does not look into."""

    def __init__(self, value: Any) -> None:
        self.value = value
