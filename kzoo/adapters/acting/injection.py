"""Placing adapters inside the layers of a model, and taking them out again.

Adapters live inside layers, never in the graph: KerasHub's `generate()` calls layers one by one
and bypasses the graph, while an adapted layer is honoured everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from kzoo.adapters.acting.composition import Block
from kzoo.adapters.acting.rows import RowIds
from kzoo.adapters.acting.site import AdapterSite
from kzoo.adapters.config import AdapterConfig, Building
from kzoo.adapters.layers.base import AdapterLayer
from kzoo.backbones.places import Place
from kzoo.keras_internals import (
    every_layer,
    give_gradient_when_quantized,
    trained_variables,
    unlocked,
    untrack,
)
from kzoo.seeds import derive_seed


class AdapterStore(keras.layers.Layer):  # type: ignore[misc]
    """Owns the layers of all adapters of one model, so that Keras trains and saves them."""

    def __init__(self) -> None:
        super().__init__(name="adapters")
        self.held: dict[str, _Held] = {}
        self.built = True

    def put(self, name: str, layers: Sequence[Any]) -> None:
        """Takes the layers of a new adapter."""
        with unlocked(self):
            self.held[name] = _Held(name, layers)

    def drop(self, name: str) -> None:
        """Lets an adapter go."""
        with unlocked(self):
            untrack(self, self.held.pop(name))


class _Held(keras.layers.Layer):  # type: ignore[misc]
    def __init__(self, name: str, layers: Sequence[Any]) -> None:
        super().__init__(name=name)
        self.parts = list(layers)
        self.built = True


class Sites:
    """The adapted sublayers of one model.

    Args:
        places: All places of the model.
        tokenize: Text to token ids without special tokens, for prompts that start from text.
        idle: Sites that the model's output does not depend on. Adapters stand there as everywhere,
            so that their files and counts are the usual ones, but are not trained: there is no
            gradient.
        running: Called while an adapted sublayer runs.

    Attributes:
        store: The Keras layer that owns the adapters; the model has to track it.
        ids: Which row of the running batch has which adapter.
        attached: Key of a place -> its site, while it has adapters.
    """

    def __init__(
        self,
        places: Sequence[Place],
        tokenize: Callable[[str], list[int]] | None = None,
        idle: Sequence[str] = (),
        running: Callable[[], None] | None = None,
    ) -> None:
        self.places = list(places)
        for place in self.places:
            if isinstance(place.layer, keras.layers.ReversibleEmbedding):
                give_gradient_when_quantized(place.layer)
        self.tokenize = tokenize
        self.idle = self.keys_of(*idle)
        self.store = AdapterStore()
        self.running = running
        self.ids = RowIds()
        self._decodes = any(place.key.startswith("decoder.") for place in self.places)
        self.attached: dict[str, AdapterSite] = {}
        self._shared: dict[str, tuple[Any, ...]] = {}

    def keys_of(self, *sites: str) -> frozenset[str]:
        """The keys of all places at some sites."""
        return frozenset(place.key for place in self.places if place.site in sites)

    def add(self, name: str, config: AdapterConfig, seed: int = 0) -> list[AdapterLayer]:
        """Builds a named adapter at every place that its configuration names; not yet active.

        Returns:
            The new layers, part by part and from the input upwards.

        Raises:
            AdapterError: The model has none of the places.
        """
        chosen = [(part, part.choose(self.places)) for part in config.parts]
        built: list[tuple[Place, AdapterLayer]] = []
        shared_layers = []
        for number, (part, places) in enumerate(chosen):
            part_name = name if len(chosen) == 1 else f"{name}.{number}"
            shared = part.make_shared(places, part_name, derive_seed(seed, part_name, "shared"))
            building = Building(part_name, seed, shared, tokenize=self.tokenize)
            for place in places:
                building.made[place.key] = part.make_layer(place, building)
            built += [(place, building.made[place.key]) for place in places]
            shared_layers.append(shared)
        # Only now, when nothing can fail any more, is the model touched.
        layers = [layer for _, layer in built]
        self.store.put(name, [*(layer for layer in shared_layers if layer is not None), *layers])
        self._shared[name] = tuple(shared_layers)
        for place, layer in built:
            site = self.attached.get(place.key)
            if site is None:
                # An embedding outside of the stacks of an encoder-decoder.
                shared = self._decodes and place.block is None and "." not in place.key
                site = AdapterSite(place, self.ids, self.running, shared)
                self.attached[place.key] = site
            if hasattr(layer, "first_id"):
                layer.first_id = site.next_virtual_id
            site.layers[name] = (*site.layers.get(name, ()), layer)
        return layers

    def remove(self, name: str) -> None:
        """Takes an adapter out; a sublayer without adapters stands alone again."""
        self.store.drop(name)
        del self._shared[name]
        for key, site in list(self.attached.items()):
            site.layers.pop(name, None)
            if not site.layers:
                site.detach()
                del self.attached[key]

    def activate(self, composition: str | Block | None) -> None:
        """Makes exactly this composition act."""
        for site in self.attached.values():
            site.active = composition

    def set_trainable(self, name: str, trainable: bool) -> None:
        """Whether an adapter's own variables are trained."""
        self.store.held[name].trainable = trainable
        for key, layer in self.layers(name):
            if key in self.idle:
                layer.trainable = False

    def trainable(self, name: str) -> list[Any]:
        """What of an adapter is trained while it acts, each variable once."""
        held = self.store.held[name]
        unique = {id(v): v for part in every_layer(held) for v in trained_variables(part)}
        return list(unique.values())

    def layers(self, name: str) -> Iterator[tuple[str, AdapterLayer]]:
        """(key of the place, layer) of an adapter, from the input upwards."""
        for place in self.places:
            site = self.attached.get(place.key)
            for layer in site.layers.get(name, ()) if site else ():
                yield place.key, layer

    def variables(self, name: str) -> dict[str, Any]:
        """An adapter's Keras variables by file key, each once.

        Keys are `<place>.<variable>` and `shared.<variable>`; in a union of methods with the
        part's number in front: `0.blocks.3.query.lora_a`.
        """
        shared = self._shared[name]
        found: dict[str, Any] = {}
        seen: set[int] = set()
        for number, layer in enumerate(shared):
            if layer is not None:
                _collect(found, seen, _prefix(number, shared) + "shared", layer)
        for key, layer in self.layers(name):
            number = int(layer.name.rpartition(".")[2]) if len(shared) > 1 else 0
            _collect(found, seen, _prefix(number, shared) + key, layer)
        return found


def _prefix(number: int, parts: tuple[Any, ...]) -> str:
    return f"{number}." if len(parts) > 1 else ""


def _collect(found: dict[str, Any], seen: set[int], prefix: str, layer: Any) -> None:
    for variable in layer.weights:
        if id(variable) in seen:  # belongs to what is shared
            continue
        seen.add(id(variable))
        key = f"{prefix}.{variable.name}"
        assert key not in found, f"two variables of a layer are called {variable.name}"
        found[key] = variable
