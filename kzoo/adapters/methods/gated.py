"""LoRA and prefix tuning with UniPELT's gates (Mao et al. 2022, arXiv:2110.07577)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from kzoo.adapters.config import register_method
from kzoo.adapters.methods.lora import LoraConfig
from kzoo.adapters.methods.prefix import PrefixConfig
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError


@register_method("gated_lora")
class GatedLoraConfig(LoraConfig):
    """A LoRA whose scaling is a gate: y = W x + gate(x) B A x.

    gate(x) is the mean over all positions of a text, padding included, of sigmoid(g(x)): one
    number a row. As in AdapterHub it takes the place of alpha / r. In a decoder, this mean sees
    later tokens in training and single ones in generation.

    Args:
        targets: See `lora`; no embeddings.
        r: Rank.
    """

    layer = "kzoo.adapters.layers.gated:GatedLoraLayer"
    embeddings: ClassVar[bool] = False

    def model_post_init(self, context: object) -> None:
        """Refuses variants of LoRA, which say what the scaling is."""
        super().model_post_init(context)
        plain = not (self.use_dora or self.use_rslora or self.lora_bias or self.from_weights)
        if not plain or self.train_bias != "none":
            raise ValueError(
                "`use_dora`, `use_rslora`, `init` pissa and olora, `train_bias` and `lora_bias` "
                "do not go with a gate"
            )

    def count_at(self, place: Place) -> int:
        """r (in + out), and in + 1 for the gate."""
        return super().count_at(place) + place.size_in + 1


@register_method("gated_prefix")
class GatedPrefixConfig(PrefixConfig):
    """A prefix whose keys and values are multiplied by a gate of the attention's input.

    The gate is that of `gated_lora`: one number a row.

    Args:
        num_virtual_tokens: P.
        shared_gating: One gate for keys and values, or one each.
    """

    layer = "kzoo.adapters.layers.gated:GatedPrefixLayer"

    shared_gating: bool = True

    def choose(self, places: Sequence[Place]) -> list[Place]:
        """The attention layers, and the projections where their input can be seen.

        Raises:
            AdapterError: Also where there is no such projection.
        """
        own = {place.key: place for place in super().choose(places)}
        by_key = {place.key: place for place in places}
        inputs = {}
        for key, place in own.items():
            if not self.is_body(place):
                continue
            source = self.input_key(place)
            if source not in by_key:
                raise AdapterError(
                    f"`{self.method}` at {key} needs the attention's input, which goes into "
                    f"{source}; this model does not have that."
                )
            inputs[source] = by_key[source]
            own[key] = replace(place, size_in=by_key[source].size_in)  # the gate's width
        return [own.get(p.key, p) for p in places if p.key in own or p.key in inputs]

    def is_body(self, place: Place) -> bool:
        """Whether a prefix stands there, and not something that belongs to one."""
        return place.site == "attention"

    def input_key(self, place: Place) -> str:
        """Key of the projection that takes the attention's input."""
        prefix = place.key[: -len(place.name)]
        # Not the query of self-attention: DeBERTa sends its relative positions through it, too.
        return prefix + ("value" if place.name == "attention" else "cross_query")

    def layer_at(self, place: Place) -> str:
        """Something that remembers the attention's input, at the projections."""
        if place.site in ("value", "query"):
            return "kzoo.adapters.layers.bottleneck:Tap"
        return super().layer_at(place)

    def count_at(self, place: Place) -> int:
        """As a prefix's, and H + 1 for each gate."""
        if place.site in ("value", "query"):
            return 0
        gates = 0 if not self.is_body(place) else 1 if self.shared_gating else 2
        return super().count_at(place) + gates * (place.size_in + 1)
