"""`kzoo.adapt`: adapters on any built Keras model, not only on kzoo's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import keras

from kzoo.adapters.injection import Sites
from kzoo.adapters.manager import Adapters
from kzoo.backbones.families import family_of, family_of_class
from kzoo.backbones.places import Place, layer_sizes
from kzoo.backbones.trunk import set_trainable
from kzoo.errors import AdapterError
from kzoo.strategy import strategy_scope


def adapt(model: Any, seed: int = 0) -> Adapters:
    """Freezes a Keras model and returns the manager that adds adapters to its layers.

    In a KerasHub backbone, or a KerasHub task such as `GPT2CausalLM`, the places are those of its
    family (`query`, `ffn_output`, ...), a task's head stays trainable, and `generate` uses the
    adapters. In any other model every dense, embedding and norm layer is a place under its own
    name (`dense_1`; inside of other layers `encoder.dense_1`), to be used in `targets`. Fit the
    model as before. The adapters are saved with `adapters.save`, not in the model's `.keras`.

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
    if isinstance(getattr(model, "adapters", None), Adapters):
        raise AdapterError("`model` has adapters already: use `model.adapters`.")
    trunk = _backbone_of(model)
    if trunk is not None:
        places = family_of(trunk).places(trunk)
        set_trainable(trunk, trainable=False)
    else:
        trunk, places = model, list(_places(model, ""))
    if not places:
        raise AdapterError("`model` has no dense, embedding or norm layer to adapt.")
    host = _Host(model, trunk, places, seed)
    for variable in host.trunk_variables:
        variable.trainable = False
    model._tracker.unlock()
    model.adapter_store = host.sites.store  # tracked: Keras trains what is in it
    model._tracker.lock()
    manager = Adapters(host)
    object.__setattr__(model, "adapters", manager)
    return manager


def _backbone_of(model: Any) -> Any:
    """The KerasHub backbone that a model is or holds, where its family is known."""
    for candidate in (model, getattr(model, "backbone", None)):
        if family_of_class(type(candidate).__name__) is not None:
            return candidate
    return None


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

    def __init__(self, model: Any, trunk: Any, places: list[Place], seed: int) -> None:
        self.model = model
        self.seed = seed
        self.origin = str(trunk.name)
        self.trunk_variables = list(trunk.weights)
        self.sites = Sites(places)

    def strategy_scope(self) -> AbstractContextManager[Any]:
        """The model's, if it has one."""
        return strategy_scope(self.model)

    def trunk_facts(self) -> dict[str, Any]:
        """What stands in saved adapters for people to read."""
        return {"model": type(self.model).__name__}

    def prepare_composition(self, composition: Any) -> None:
        """Nothing: whoever makes the inputs of a plain model writes virtual ids into them."""

    def adapters_changed(self) -> None:
        """Compiled functions answer for the old graph; the optimizer knows the old variables."""
        model = self.model
        if not isinstance(model, keras.Model):
            return
        model.train_function = model.test_function = model.predict_function = None
        if hasattr(model, "generate_function"):
            model.generate_function = None
        if model.compiled and model.optimizer is not None:
            with self.strategy_scope():
                fresh = type(model.optimizer).from_config(model.optimizer.get_config())
            model.optimizer = fresh

    def head_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """There is no head beside the model."""
        return {}, {}

    def accept_head(self, facts: dict[str, Any]) -> None:
        """There is no head beside the model."""
