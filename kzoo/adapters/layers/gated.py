"""The gated layers; formulas in `kzoo.adapters.methods.gated`."""

from __future__ import annotations

from functools import partial
from typing import Any

from kzoo.adapters.config import Building
from kzoo.adapters.layers.base import AdapterLayer, Function, add_gate, gate
from kzoo.adapters.layers.calls import bind
from kzoo.adapters.layers.lora import LoraLayer
from kzoo.adapters.layers.prefix import PrefixLayer
from kzoo.adapters.methods.gated import GatedLoraConfig, GatedPrefixConfig
from kzoo.backbones.places import Place


class GatedLoraLayer(LoraLayer):
    """y = inner(x) + gate(x) x A B.

    Variables: `lora_a` (in, r), `lora_b` (r, out), `gate_kernel` (in, 1), `gate_bias` (1,).
    """

    mergeable = False

    def __init__(self, config: GatedLoraConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        self.scaling = 1.0
        add_gate(self, self.projection.size_in, 1, self.seed)

    def apply(self, inner: Function, x: Any) -> Any:
        """See the class."""
        flat = self.projection.flatten_input(x)
        added = self.update(flat) * gate(flat, self.gate_kernel, self.gate_bias)
        return inner(x) + self.projection.unflatten_output(added)

    def merged(self) -> Any:
        """Not possible: the gate depends on the input."""
        return AdapterLayer.merged(self)


class GatedPrefixLayer(PrefixLayer):
    """More keys and values for one attention, times a gate for each row.

    Variables: those of the prefix, `gate_kernel` (H, 1) or (H, 2), `gate_bias` (1,) or (2,).
    """

    def __init__(self, config: GatedPrefixConfig, place: Place, building: Building) -> None:
        super().__init__(config, place, building)
        gates = 1 if config.shared_gating else 2
        add_gate(self, place.size_in, gates, building.seed_at(place))
        # In a function, since Keras would track what a dictionary holds.
        self.tap = partial(building.made.get, config.input_key(place))

    def states(self, x: Any) -> Any:
        """The attention's input, (rows, tokens, H)."""
        if self.attention.in_one_method:
            return bind(self.place, x).arguments["hidden_states"]
        tap: Any = self.tap()
        return tap.take()

    def apply(self, inner: Function, x: Any) -> Any:
        """x: `(args, kwargs)` of the attention's method."""
        each = gate(self.states(x), self.gate_kernel, self.gate_bias)[..., None]
        key, value = (rows[None] for rows in self.keys_and_values())
        return self.attention.with_prefix(inner, x, key * each[:, :, :1], value * each[:, :, -1:])
