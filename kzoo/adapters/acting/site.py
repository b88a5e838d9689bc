"""What stands between a sublayer and its callers while adapters are attached to it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import keras

from kzoo.adapters.acting.composition import Block, Stack
from kzoo.adapters.acting.rows import RowIds
from kzoo.adapters.acting.running import around
from kzoo.adapters.layers.base import AdapterLayer, Function
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError
from kzoo.keras_internals import autocast, is_quantized

_NO_VIRTUAL_TOKENS = (
    "A prompt is active, and the token ids have none of its virtual tokens. kzoo.TextInput writes "
    "them; for kzoo.adapt write them yourself (kzoo.backbones.virtual_tokens), or use a method "
    "that needs none, such as prefix."
)


class AdapterSite:
    """Replaces one method of a sublayer by itself with the active adapters around it.

    The sublayer keeps its place, class, name and variables, so that everything that reaches into
    a backbone (KerasHub's `generate`, tied embeddings, quantisation) finds what it expects.

    KerasHub puts the feed-forward activation inside the dense layer. Adapters of a projection act
    before the activation (W x + B A x goes into it), so the site takes it over while it runs. It
    stays the layer's own at all other times: Keras writes it into the model's file.

    Args:
        place: The sublayer and its method.
        ids: Which row of the running batch has which adapter.
        running: Called each time.
        shared: Whether an encoder and a decoder share the sublayer; prompts are for the encoder.
    """

    def __init__(
        self,
        place: Place,
        ids: RowIds,
        running: Callable[[], None] | None = None,
        shared: bool = False,
    ) -> None:
        self.place = place
        self.ids = ids
        self.running = running
        self.shared = shared
        self._linear = threading.RLock()
        self.layers: dict[str, tuple[AdapterLayer, ...]] = {}
        self.active: str | Block | None = None
        # Keras calls another method of a layer that was quantised, before or after this.
        names = (place.method, "quantized_call") if place.method == "call" else (place.method,)
        self._bare: dict[str, Callable[..., Any]] = {n: getattr(place.layer, n) for n in names}
        for name in names:
            setattr(place.layer, name, self.run)

    def _base(self, *args: Any, **kwargs: Any) -> Any:
        quantized = "quantized_call" in self._bare and is_quantized(self.place.layer)
        return self._bare["quantized_call" if quantized else self.place.method](*args, **kwargs)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the sublayer inside its active adapters, the first one innermost.

        Adapters around `call` see its first argument. Around other methods (attention, which
        takes queries, keys, values and a mask) they see `(args, kwargs)` as one value.
        """
        if self.running is not None:
            self.running()
        if self.active is None and not self.prompts:
            return self._base(*args, **kwargs)
        with autocast(self.place.layer):
            return self._run(*args, **kwargs)

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        if self.place.whole_call:
            return self.adapted(lambda call: self.base(*call[0], **call[1]))((args, kwargs))
        x, *rest = args
        if kwargs.get("reverse") or (rest and rest[0] is True):
            return self.reverse(lambda x: self.base(x, *rest, **kwargs))(x)
        prompts = self.prompts
        if prompts and self.running is not None:
            self._check_virtual(x, prompts)
        # Virtual ids are nobody else's business.
        real = keras.ops.where(x < self.place.size_in, x, 0) if prompts else x
        y = self.adapted(lambda x: self.base(x, *rest, **kwargs))(real)
        for layer in prompts:
            y = layer.with_rows(x, y)
        with self._linear:  # another thread may have taken it off for a moment
            activation = self.activation
        return y if activation is None else activation(y)

    @property
    def activation(self) -> Any:
        """What a dense layer applies to the adapted product, None elsewhere."""
        return self.place.layer.activation if _is_dense(self.place) else None

    def base(self, *args: Any, **kwargs: Any) -> Any:
        """The sublayer alone, without its activation."""
        if not _is_dense(self.place):
            return self._base(*args, **kwargs)
        layer = self.place.layer
        with self._linear:
            activation, layer.activation = layer.activation, keras.activations.linear
            try:
                return self._base(*args, **kwargs)
            finally:
                layer.activation = activation

    def _check_virtual(self, x: Any, prompts: list[Any]) -> None:
        """Refuses inputs in which an active prompt does not occur: it would do nothing.

        A step of cached generation has one token, its prompt stands in the cache.
        """
        if isinstance(self.active, Stack):
            names = list(self.active.names())
        else:
            names = [self.active] if isinstance(self.active, str) else []
        acting = [o for name in names for o in self.layers.get(name, ()) if o in prompts]
        if not acting or self.shared or x.shape[-1] == 1:
            return
        import tensorflow as tf

        there = keras.ops.any(x >= self.place.size_in)
        if not tf.executing_eagerly():
            tf.debugging.Assert(there, [_NO_VIRTUAL_TOKENS])  # XLA leaves it out
        elif not bool(there):
            raise AdapterError(_NO_VIRTUAL_TOKENS)

    @property
    def prompts(self) -> list[Any]:
        """Layers whose rows are chosen by virtual ids, active or not; see `VirtualTokenLayer`."""
        return [o for own in self.layers.values() for o in own if hasattr(o, "with_rows")]

    @property
    def next_virtual_id(self) -> int:
        """The first id that no prompt has."""
        taken = [layer.first_id + layer.config.virtual_ids for layer in self.prompts]
        return max(taken, default=self.place.size_in)

    def reverse(self, function: Function) -> Function:
        """A tied embedding run backwards, to logits: only adapters that say how are around it."""
        if self.active is None:
            return function
        backwards: dict[str, Any] = {
            name: [_Backwards(layer) for layer in own if hasattr(layer, "apply_reverse")]
            for name, own in self.layers.items()
        }
        return around(self.active, backwards, function, self.ids)

    def adapted(self, function: Function) -> Function:
        """The function with the active adapters around it."""
        if self.active is None:
            return function
        return around(self.active, self.layers, function, self.ids)

    def detach(self) -> None:
        """Gives the sublayer its methods back."""
        layer = self.place.layer
        for name, bare in self._bare.items():
            delattr(layer, name)  # the class's method shows again
            if getattr(bare, "__self__", None) is not layer:
                setattr(layer, name, bare)


class _Backwards:
    """A layer as it acts on a tied embedding run backwards."""

    row_wise = False

    def __init__(self, layer: Any) -> None:
        self.config = layer.config
        self.apply = layer.apply_reverse


def _is_dense(place: Place) -> bool:
    return (
        place.method == "call"
        and hasattr(place.layer, "kernel")
        and hasattr(place.layer, "activation")
    )
