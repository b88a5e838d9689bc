"""What carries adapters: what it has to offer, which Keras models run it, and how they are told."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol
from weakref import WeakSet

import keras

from kzoo.adapters.acting.composition import Block
from kzoo.adapters.acting.injection import Sites
from kzoo.keras_internals import carried_optimizer, every_layer, renew_functions, trained_by
from kzoo.strategy import strategy_scope


class Adaptable(Protocol):
    """What the manager needs of a model: `kzoo.Trunk` and models that `kzoo.adapt` took have it."""

    @property
    def backbone(self) -> Any:
        """Its KerasHub backbone; None for another Keras model."""

    @property
    def trunk_variables(self) -> list[Any]:
        """The trunk's own variables."""

    @property
    def origin(self) -> str:
        """Where its weights came from."""

    @property
    def seed(self) -> int:
        """Decides initial values."""

    @property
    def sites(self) -> Sites:
        """Its adapted sublayers."""

    @property
    def trainable(self) -> bool:
        """False where its owner has switched all training off."""

    def strategy_scope(self) -> AbstractContextManager[Any]:
        """The scope of the `tf.distribute` strategy in which the model's variables are made."""

    def trunk_facts(self) -> dict[str, Any]:
        """Facts about the trunk beside its fingerprint, for the files of adapters."""

    def prepare_composition(self, composition: str | Block | None) -> None:
        """Called before a composition acts; raises where the model's inputs cannot serve it."""

    def adapters_changed(self) -> None:
        """Called after every change: compiled functions and the optimizer are stale."""

    def heads(self) -> list[Any]:
        """The heads that follow the adapters; see `kzoo.heads.Head`."""

    def forget(self, name: str) -> None:
        """Called after an adapter was deleted."""

    def head_state(self, name: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Facts about what the heads have for an adapter (None: without any), and its variables."""

    def accept_head(self, facts: Mapping[str, Any], name: str | None) -> None:
        """Makes the heads fit saved facts (classes, labels) before their values are assigned."""


class Holders:
    """The models that were seen to run one trunk.

    A layer does not know the models that call it, but when it runs, they are on the call stack: in
    the trace of a compiled function too, which is the only place where one can grow stale. So
    nobody has to register, and a model with a `train_step` of its own is found as well.
    """

    def __init__(self) -> None:
        self._models: WeakSet[Any] = WeakSet()

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._models))

    def add(self, model: Any) -> None:
        """Adds a model that is known before it runs."""
        self._models.add(model)

    def find(self, layers: Iterable[Any]) -> None:
        """Adds all models alive that hold one of some layers.

        For a trunk that is older than its adapters: what was compiled before cannot be on the call
        stack any more. Takes some 0.1 seconds.
        """
        wanted = {id(layer) for layer in layers}
        for candidate in gc.get_objects():
            if isinstance(candidate, keras.Model) and any(
                id(part) in wanted for part in every_layer(candidate)
            ):
                self._models.add(candidate)

    def note(self) -> None:
        """Adds the models that are running now; one that was compiled earlier is brought in line.

        To be called while the trunk runs or is traced.
        """
        for model in _running():
            if model not in self._models:
                self._models.add(model)
                # A model read from a file has an optimizer for the adapters of that time.
                renew_optimizer(model)

    def changed(self) -> None:
        """Tells every model that its functions are stale, and its optimizer where it is."""
        for model in self:
            told = getattr(model, "trunk_changed", None)
            if told is not None:
                told()
            else:
                trunk_changed(model)


def trunk_changed(model: Any) -> None:
    """What a switch of adapters means for a Keras model."""
    renew_functions(model)
    renew_optimizer(model)


def renew_optimizer(model: Any) -> None:
    """Lets the optimizer of a compiled model train what is trainable now; its state stays."""
    import tensorflow as tf

    optimizer = getattr(model, "optimizer", None)
    known = trained_by(optimizer) if optimizer is not None else None
    if known is None:
        return
    wanted = model.trainable_variables
    if {id(v) for v in known} == {id(v) for v in wanted}:
        return
    with tf.init_scope(), strategy_scope(model):  # a trace may be running
        model.optimizer = carried_optimizer(optimizer, wanted)


def _running() -> Iterator[Any]:
    """The Keras models whose methods are on the call stack, from the innermost."""
    frame = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        if "self" in code.co_varnames[:1] or "self" in code.co_freevars:
            candidate = frame.f_locals.get("self")
            if isinstance(candidate, keras.Model):
                yield candidate
        frame = frame.f_back  # type: ignore[assignment]
