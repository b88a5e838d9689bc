"""`kzoo.adapt`: adapters on any built Keras model, not only on kzoo's own."""

from __future__ import annotations

import types
import warnings
import weakref
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import keras

from kzoo.adapters.acting.injection import Sites
from kzoo.adapters.host import Holders
from kzoo.adapters.manager import Adapters
from kzoo.backbones.families import family_of, family_of_class
from kzoo.backbones.places import Place, layer_sizes
from kzoo.backbones.trunk import set_trainable
from kzoo.errors import AdapterError
from kzoo.keras_internals import every_layer, is_quantized, parts, unlocked
from kzoo.strategy import strategy_scope


def adapt(model: Any, seed: int = 0) -> Adapters:
    """Freezes a Keras model and returns the manager that adds adapters to its layers.

    In a KerasHub backbone, or a KerasHub task such as `GPT2CausalLM`, the places are those of its
    family (`query`, `ffn_output`, ...), a task's head stays trainable, and `generate` uses the
    adapters. In any other model every dense, embedding and norm layer is a place under its own
    name (`dense_1`; inside of other layers `encoder.dense_1`), to be used in `targets`. Fit, save
    and load the model as before: its `.keras` file has the adapters (`import kzoo` before loading).

    The virtual tokens of prompts are written by whoever makes the model's inputs.

    Args:
        model: A built Keras model or layer: functional, Sequential, subclassed, KerasHub's.
        seed: Decides initial values and dropout.

    Returns:
        The manager, which is `model.adapters` from now on too.

    Raises:
        AdapterError: The model is not built, has adapters or trunks already, or has no layer that
            can be adapted.

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
    if any(hasattr(part, "adapter_store") for part in every_layer(model)):
        raise AdapterError(
            "`model` holds a layer with adapters of its own, such as kzoo.Trunk: use that layer's "
            "`adapters`."
        )
    trunk = _backbone_of(model)
    places = family_of(trunk).places(trunk) if trunk is not None else list(_places(model, ""))
    if not places:
        raise AdapterError("`model` has no dense, embedding or norm layer to adapt.")
    host = _Host(model, trunk, places, seed)
    with unlocked(model):
        model.adapter_store = host.sites.store  # tracked: Keras trains what is in it
    manager = Adapters(host)
    object.__setattr__(model, "adapters", manager)
    object.__setattr__(model, "adapted_host", host)
    model.__class__ = _adapted_class(type(model))  # type: ignore[arg-type]
    host.apply_training()
    return manager


class Adapted:
    """What `adapt` puts in front of a model's class: its adapters in files and in training."""

    adapters: Adapters
    adapted_host: _Host
    adapter_store: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Makes a bare model: `keras.models.clone_model` copies classes, and knows no adapters."""
        self.__class__ = _bare_class(type(self))
        self.__init__(*args, **kwargs)  # type: ignore[misc]
        warnings.warn(
            "A clone of an adapted model is bare. Call kzoo.adapt on it and load the adapters.",
            stacklevel=3,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the model; whoever runs it is told of switches from now on."""
        self.adapted_host.holders.note()
        return super().__call__(*args, **kwargs)  # type: ignore[misc]

    @property
    def trainable(self) -> bool:
        """As in Keras; set to True again, what was frozen stays frozen."""
        return bool(keras.layers.Layer.trainable.fget(self))

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.layers.Layer.trainable.fset(self, value)
        if value:
            self.adapted_host.apply_training()

    # A Sequential has a list of layers of its own, in which the store is not.

    @property
    def variables(self) -> list[Any]:
        """As in Keras, the adapters' included."""
        return _with(super().variables, self.adapter_store.variables)  # type: ignore[misc]

    @property
    def weights(self) -> list[Any]:
        """As in Keras, the adapters' included."""
        return _with(super().weights, self.adapter_store.weights)  # type: ignore[misc]

    def get_config(self) -> dict[str, Any]:
        """The bare model and the adapters, without their values."""
        adapted, self.__class__ = type(self), _bare_class(type(self))
        try:
            bare = keras.saving.serialize_keras_object(self)
        finally:
            self.__class__ = adapted
        bare.pop("compile_config", None)  # the adapted model has its own
        return {"bare": bare, "seed": self.adapted_host.seed, "adapters": self.adapters.state()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Any = None) -> Any:
        """Rebuilds an adapted model, with random weights."""
        model = keras.saving.deserialize_keras_object(config["bare"], custom_objects)
        adapt(model, config["seed"]).restore(config["adapters"])
        return model


@cache
def _adapted_class(bare: type) -> type:
    """The class of an adapted model; its name stays, which others go by."""
    cls = types.new_class(bare.__name__, (Adapted, bare))
    cls.__module__ = __name__
    # All under one name: `from_config` does not depend on the class that is found there.
    return keras.saving.register_keras_serializable("kzoo", "Adapted")(cls)  # type: ignore[no-any-return]


def _bare_class(adapted: type) -> type:
    return adapted.__mro__[2]


def _with(own: list[Any], more: list[Any]) -> list[Any]:
    known = {id(v) for v in own}
    return [*own, *(v for v in more if id(v) not in known)]


def _backbone_of(model: Any) -> Any:
    """The KerasHub backbone that a model is or holds, where its family is known."""
    for candidate in (model, getattr(model, "backbone", None)):
        if family_of_class(type(candidate).__name__) is not None:
            return candidate
    return None


def _places(layer: Any, prefix: str) -> Iterator[Place]:
    for child in parts(layer):
        if isinstance(child, keras.layers.InputLayer):
            continue
        key = f"{prefix}{child.name}"
        if parts(child) and not hasattr(child, "kernel"):
            yield from _places(child, f"{key}.")
            continue
        size_in, size_out, bias = layer_sizes(child)
        if size_out:
            yield Place(key, child.name, child.name, size_in, size_out, bias, layer=child)


class _Host:
    """What the manager needs to know of a model that knows nothing of adapters."""

    def __init__(self, model: Any, backbone: Any, places: list[Place], seed: int) -> None:
        self.model = model
        self.seed = seed
        self.backbone = backbone
        self._trunk = model if backbone is None else backbone
        self.origin = str(self._trunk.name)
        self._own = [weakref.ref(v) for v in self._trunk.weights]
        self.holders = Holders()
        if isinstance(model, keras.Model):
            self.holders.add(model)
        self.holders.find([model, *(place.layer for place in places)])
        self.sites = Sites(places, running=self._note)

    @property
    def trunk_variables(self) -> list[Any]:
        """The model's own, without adapters; `quantize` puts others in the place of some."""
        if not any(is_quantized(layer) for layer in every_layer(self._trunk)):
            return [own() for own in self._own]
        adapters = {id(v) for v in self.sites.store.weights}
        return [v for v in self._trunk.weights if id(v) not in adapters]

    def _note(self) -> None:
        """Where `generate` goes around the model's `call`, a trace still comes by a sublayer."""
        import tensorflow as tf

        if not tf.executing_eagerly():
            self.holders.note()

    @property
    def trainable(self) -> bool:
        """False where the model's owner has switched all training off."""
        return bool(self.model.trainable)

    def apply_training(self) -> None:
        """Freezes the trunk; what is active among the adapters is trained."""
        if self.backbone is not None:
            set_trainable(self.backbone, trainable=False)
        for variable in self.trunk_variables:
            variable.trainable = False
        self.model.adapters.refresh_training()

    def strategy_scope(self) -> AbstractContextManager[Any]:
        """The model's, if it has one."""
        return strategy_scope(self.model)

    def trunk_facts(self) -> dict[str, Any]:
        """What stands in saved adapters for people to read."""
        return {"model": type(self.model).__name__}

    def prepare_composition(self, composition: Any) -> None:
        """Nothing: whoever makes the inputs of a plain model writes virtual ids into them."""

    def adapters_changed(self) -> None:
        """Tells every model that runs this one that its functions are stale."""
        self.holders.changed()

    def heads(self) -> list[Any]:
        """There is no head beside the model."""
        return []

    def forget(self, name: str) -> None:
        """There is no head beside the model."""

    def head_state(self, name: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """There is no head beside the model."""
        return {}, {}

    def accept_head(self, facts: Mapping[str, Any], name: str | None) -> None:
        """There is no head beside the model."""
