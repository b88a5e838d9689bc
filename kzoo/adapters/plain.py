"""`kzoo.adapt`: adapters on any built Keras model, not only on kzoo's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from kzoo.adapters.injection import Sites
from kzoo.adapters.manager import Adapters
from kzoo.backbones.places import Place
from kzoo.backbones.sizes import layer_sizes
from kzoo.errors import AdapterError


def adapt(model: Any, seed: int = 0) -> Adapters:
    """Freezes a Keras model and returns the manager that adds adapters to its layers.

    Every dense, embedding and norm layer is a place under its own name (`dense_1`; inside of other
    layers `encoder.dense_1`), to be used in `targets`. Fit the model as before; what is trained
    are the adapters. The adapters are saved with `adapters.save`, not in the model's `.keras`.

    Args:
        model: A built Keras model or layer.
        seed: Decides initial values and dropout.

    Returns:
        The manager, which is `model.adapters` from now on too.

    Raises:
        AdapterError: The model is not built, or has no layer that can be adapted.

    Example:
        >>> adapters = kzoo.adapt(model)
        >>> adapters.add("a", "lora[r=4,targets=[dense_1]]")
    """
    if not isinstance(model, keras.layers.Layer) or not model.built:
        raise AdapterError(
            "`model` must be a built Keras model: call it once on data, or give it an Input. "
            f"Received: {type(model).__name__}"
        )
    places = list(_places(model, ""))
    if not places:
        raise AdapterError("`model` has no dense, embedding or norm layer to adapt.")
    host = _Host(model, places, seed)
    for variable in host.trunk_variables:
        variable.trainable = False
    model._tracker.unlock()
    model.adapter_store = host.sites.store  # tracked: Keras trains what is in it
    if isinstance(model, keras.Model):
        model._tracker.lock()
    manager = Adapters(host)
    object.__setattr__(model, "adapters", manager)
    return manager


def _places(layer: Any, prefix: str) -> Iterator[Place]:
    for child in layer._layers:
        if isinstance(child, keras.layers.InputLayer):
            continue
        key = f"{prefix}{child.name}"
        if child._layers and not hasattr(child, "kernel"):
            yield from _places(child, f"{key}.")
            continue
        size_in, size_out, bias = layer_sizes(child)
        if size_out:
            yield Place(key, child.name, child.name, size_in, size_out, bias, layer=child)


class _Host:
    """What the manager needs to know of a model that knows nothing of adapters."""

    def __init__(self, model: Any, places: list[Place], seed: int) -> None:
        self.model = model
        self.seed = seed
        self.origin = str(model.name)
        self.trunk_variables = list(model.weights)
        self.sites = Sites(places)

    def trunk_facts(self) -> dict[str, Any]:
        """What stands in saved adapters for people to read."""
        return {"model": type(self.model).__name__}

    def adapters_changed(self) -> None:
        """Compiled functions would answer for the old graph; the optimizer has to be made anew."""
        model = self.model
        if not isinstance(model, keras.Model):
            return
        model.train_function = model.test_function = model.predict_function = None
        if model.compiled:
            model.compile_from_config(model.get_compile_config())

    def head_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """There is no head beside the model."""
        return {}, {}

    def accept_head(self, facts: dict[str, Any]) -> None:
        """There is no head beside the model."""
