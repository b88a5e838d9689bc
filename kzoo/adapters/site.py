"""What stands between a sublayer and its callers while adapters are attached to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from kzoo.adapters.composing import around
from kzoo.adapters.composition import Block
from kzoo.adapters.layers.site import AdapterLayer, Function
from kzoo.adapters.rows import RowIds
from kzoo.backbones.places import Place


class AdapterSite:
    """Replaces one method of a sublayer by itself with the active adapters around it.

    The sublayer keeps its place, class, name and variables, so that everything that reaches into
    a backbone (KerasHub's `generate`, tied embeddings, quantisation) finds what it expects.

    KerasHub puts the feed-forward activation inside the dense layer. Adapters of a projection act
    before the activation (W x + B A x goes into it), so the site takes it over.

    Args:
        place: The sublayer and its method.
        ids: Which row of the running batch has which adapter.
    """

    def __init__(self, place: Place, ids: RowIds) -> None:
        self.place = place
        self.ids = ids
        self.base: Callable[..., Any] = getattr(place.layer, place.method)
        self.activation = getattr(place.layer, "activation", None) if _is_dense(place) else None
        if self.activation is not None:
            place.layer.activation = keras.activations.linear
        self.layers: dict[str, tuple[AdapterLayer, ...]] = {}
        self.active: str | Block | None = None
        setattr(place.layer, place.method, self.run)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the sublayer inside its active adapters, the first one innermost.

        Adapters around `call` see its first argument. Around other methods (attention, which
        takes queries, keys, values and a mask) they see `(args, kwargs)` as one value.
        """
        if self.place.whole_call:
            return self.adapted(lambda call: self.base(*call[0], **call[1]))((args, kwargs))
        x, *rest = args
        if kwargs.get("reverse") or (rest and rest[0] is True):
            return self.reverse(lambda x: self.base(x, *rest, **kwargs))(x)
        prompts = self.prompts
        # Virtual ids are nobody else's business.
        real = keras.ops.where(x < self.place.size_in, x, 0) if prompts else x
        y = self.adapted(lambda x: self.base(x, *rest, **kwargs))(real)
        for layer in prompts:
            y = layer.with_rows(x, y)
        return y if self.activation is None else self.activation(y)

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
        """Gives the sublayer its method back."""
        delattr(self.place.layer, self.place.method)
        if self.activation is not None:
            self.place.layer.activation = self.activation


class _Backwards:
    """A layer as it acts on a tied embedding run backwards."""

    row_wise = False

    def __init__(self, layer: Any) -> None:
        self.config = layer.config
        self.apply = layer.apply_reverse


def _is_dense(place: Place) -> bool:
    return place.method == "call" and hasattr(place.layer, "kernel")
