"""What stands between a sublayer and its callers while adapters are attached to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
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


class AdapterSite:
    """Replaces one method of a sublayer by itself with the active adapters around it.

    The sublayer keeps its place, class, name and variables, so that everything that reaches into
    a backbone (KerasHub's `generate`, tied embeddings, quantisation) finds what it expects.

    KerasHub puts the feed-forward activation inside the dense layer. Adapters of a projection act
    before the activation (W x + B A x goes into it), so the site takes it over.

    Args:
        place: The sublayer and its method.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.base: Callable[..., Any] = getattr(place.layer, place.method)
        self.activation = getattr(place.layer, "activation", None) if _is_dense(place) else None
        if self.activation is not None:
            place.layer.activation = keras.activations.linear
        self.layers: dict[str, tuple[AdapterLayer, ...]] = {}
        self.active: tuple[str, ...] = ()
        setattr(place.layer, place.method, self.run)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the sublayer inside its active adapters, the first one innermost.

        Adapters around `call` see its first argument. Around other methods (attention, which
        takes queries, keys, values and a mask) they see `(args, kwargs)` as one value.
        """
        if self.place.method != "call":
            return self.adapted(lambda call: self.base(*call[0], **call[1]))((args, kwargs))
        x, *rest = args
        # A tied embedding run backwards computes logits; adapters of the embedding are not there.
        if kwargs.get("reverse") or (rest and rest[0] is True):
            return self.base(*args, **kwargs)
        y = self.adapted(lambda x: self.base(x, *rest, **kwargs))(x)
        return y if self.activation is None else self.activation(y)

    def adapted(self, function: Function) -> Function:
        """The function with the active adapters around it."""
        for name in self.active:
            for layer in self.layers[name]:
                function = partial(layer.apply, function)
        return function

    def detach(self) -> None:
        """Gives the sublayer its method back."""
        delattr(self.place.layer, self.place.method)
        if self.activation is not None:
            self.place.layer.activation = self.activation


class AdapterStore(keras.layers.Layer):  # type: ignore[misc]
    """Owns the layers of all adapters of one model, so that Keras trains and saves them."""

    def __init__(self) -> None:
        super().__init__(name="adapters")
        self.held: dict[str, _Held] = {}
        self.built = True

    def put(self, name: str, layers: Sequence[Any]) -> None:
        """Takes the layers of a new adapter."""
        self._tracker.unlock()  # as Keras itself does where built layers grow
        self.held[name] = _Held(name, layers)
        self._tracker.lock()

    def drop(self, name: str) -> None:
        """Lets an adapter go."""
        self._tracker.unlock()
        self._tracker.untrack(self.held.pop(name))
        self._tracker.lock()


class _Held(keras.layers.Layer):  # type: ignore[misc]
    def __init__(self, name: str, layers: Sequence[Any]) -> None:
        super().__init__(name=name)
        self.parts = list(layers)
        self.built = True


class _Untracked:
    """A box that Keras' attribute tracking does not look into."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _is_dense(place: Place) -> bool:
    return place.method == "call" and hasattr(place.layer, "kernel")
