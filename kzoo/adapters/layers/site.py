"""The wrapper that stands where an adapted sublayer stood."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras


class AdapterLayer(keras.layers.Layer):  # type: ignore[misc]
    """Base of the methods' layers: turns a function of x into an adapted function of x.

    Args:
        config: The method's configuration.
        site: Site name.
        base: The wrapped layer; read for its shapes, never owned.
        name: The adapter's name.
    """

    kzoo_adapter = True  # freezing and counting the trunk passes these by

    def __init__(self, config: Any, site: str, base: Any, name: str) -> None:
        super().__init__(name=name, dtype=base.dtype_policy)
        self.config = config
        self.site = site

    def apply(self, inner: Callable[[Any], Any], x: Any, training: bool | None) -> Any:
        """The adapted function at x.

        Args:
            inner: What stands below: the base layer, or another adapter around it.
            x: The sublayer's input.
            training: Whether dropout is on.

        Returns:
            A tensor of the shape of `inner(x)`.
        """
        raise NotImplementedError


class AdapterSite(keras.layers.Layer):  # type: ignore[misc]
    """Holds a sublayer and its named adapters; without active adapters it is the sublayer.

    KerasHub puts the feed-forward activation inside the dense layer. Adapters of a projection act
    before the activation (W x + B A x goes into it), so the site takes it over.

    Args:
        base: The sublayer.
        site: Site name.
    """

    def __init__(self, base: Any, site: str) -> None:
        super().__init__(name=f"{base.name}_site", dtype=base.dtype_policy)
        self.base = base
        self.site = site
        self.activation = getattr(base, "activation", None)
        if self.activation is not None:
            base.activation = keras.activations.linear
        self.adapters: dict[str, AdapterLayer] = {}
        self.active: tuple[str, ...] = ()
        self.supports_masking = True
        self.built = True  # the sublayer is; adapters build themselves when they come

    def add(self, name: str, layer: AdapterLayer) -> None:
        """Adds an adapter (Keras locks built layers; core unlocks in the same way)."""
        self._tracker.unlock()
        self.adapters[name] = layer
        self._tracker.lock()

    def remove(self, name: str) -> None:
        """Removes an adapter and its variables."""
        self._tracker.unlock()
        layer = self.adapters.pop(name)
        self._tracker.untrack(layer)
        self._tracker.lock()
        self.active = tuple(other for other in self.active if other != name)

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Runs the sublayer inside its active adapters, the first one innermost."""
        function: Callable[[Any], Any] = self.base
        for name in self.active:
            function = partial(self._adapted, self.adapters[name], function, training)
        y = function(x)
        return y if self.activation is None else self.activation(y)

    def release(self) -> Any:
        """Gives the sublayer back as it was."""
        if self.activation is not None:
            self.base.activation = self.activation
        return self.base

    @staticmethod
    def _adapted(
        layer: AdapterLayer, inner: Callable[[Any], Any], training: bool | None, x: Any
    ) -> Any:
        return layer.apply(inner, x, training)

    def compute_output_spec(self, x: Any, training: bool | None = None) -> Any:
        """Adapters keep shapes."""
        return self.base.compute_output_spec(x)
