"""Bottleneck adapters.

Houlsby et al. 2019, arXiv:1902.00751; Pfeiffer et al. 2021, 2005.00247; in parallel to the
sublayer, He et al. 2022, 2110.04366.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, field_validator

from kzoo.adapters.config import AdapterConfig, Building, NonLinearity, register_method
from kzoo.adapters.methods.invertible import InvertibleConfig
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError

Share = Annotated[float, Field(ge=0, lt=1)]

_SEQUENTIAL = {"attention": False, "ffn": True, "original_ln_before": True}
_DOUBLE = {"attention": True, "ffn": True, "non_linearity": "swish"}
_PARALLEL = {
    "ffn": True,
    "parallel": True,
    "reduction_factor": 2,
    "init_weights": "mam_adapter",
}


@register_method("bottleneck")
@register_method("pfeiffer", **_SEQUENTIAL)
@register_method("seq_bn", **_SEQUENTIAL)
@register_method("seq_bn_inv", **_SEQUENTIAL, inv_adapter="nice")
@register_method("pfeiffer+inv", **_SEQUENTIAL, inv_adapter="nice")
@register_method("houlsby", **_DOUBLE)
@register_method("double_seq_bn", **_DOUBLE)
@register_method("double_seq_bn_inv", **_DOUBLE, inv_adapter="nice")
@register_method("houlsby+inv", **_DOUBLE, inv_adapter="nice")
@register_method("parallel", **_PARALLEL, scaling=4.0)
@register_method("par_bn", **_PARALLEL, scaling=4.0)
@register_method("scaled_parallel", **_PARALLEL, scaling="learned")
@register_method("scaled_par_bn", **_PARALLEL, scaling="learned")
class BottleneckConfig(AdapterConfig):
    """Down-projection, non-linearity, up-projection, residual; options as AdapterHub defines them.

    With x the sublayer's output, h the residual input of its part of the block (attention or
    feed-forward), LN the block's own layer norm and A(u) = s up(f(down(u))):

    - `original_ln_before=False` (Houlsby, AdapterHub `double_seq_bn`): LN(A(x) + x + h);
    - `original_ln_before=True` (Pfeiffer, AdapterHub `seq_bn`): LN(A(LN(x + h)) + x + h);
    - `parallel=True` (He, AdapterHub `par_bn`): LN(x + A(h) + h).

    Blocks that normalise first (GPT-2, Llama, T5, ViT) have no norm behind the sum, and as in
    AdapterHub h is the residual itself: A(x) + x + h, A(x + h) + x + h, and x + A(h) + h.

    The up-projection starts at zero, so that an untrained adapter is an exact identity; with
    `init_weights` "bert" or "houlsby" it is only close to one. Three options leave no identity
    whatever the weights: `ln_after` with `adapter_residual_before_ln`, and `residual_before_ln`
    "post_add" or false together with `original_ln_after`, which count h twice.

    Args:
        reduction_factor: Trunk width over bottleneck width; or one for each block number, with
            "default" for the others: `{"0": 8, "default": 16}`.
        non_linearity: f above.
        attention: Place one after the self-attention sublayer.
        cross_attention: Place one after a decoder's cross-attention.
        ffn: Place one after the feed-forward sublayer.
        parallel: Beside the sublayer instead of behind it.
        scaling: s above: a number, "learned" (one number, from 1) or "channel" (one a feature).
        original_ln_before: Whether residual sum and LN run before the adapter as well.
        original_ln_after: Whether they run after it. False only where they ran before.
        residual_before_ln: What is added to A where `original_ln_before`: x (true), the sum x + h
            ("post_add"), or LN(x + h) (false).
        ln_before: A new layer norm in front of the down-projection.
        ln_after: A new layer norm on A.
        adapter_residual_before_ln: Whether the adapter's residual goes through that norm too.
        use_gating: Multiplies A by the mean over all positions, padding included, of
            sigmoid(g(u)) (UniPELT, Mao et al. 2022, arXiv:2110.07577). In a decoder, this mean
            sees later tokens in training and single ones in generation.
        dropout: Share of A dropped in training.
        stochastic_depth: Share of rows whose A is dropped in training, the others scaled up.
        init_weights: "identity" (down N(0, 0.02), up zero), "mam_adapter" (down uniform within
            1 / sqrt(width), up zero), "bert" (both N(0, 0.02)) or "houlsby" (both truncated
            N(0, 0.01)).
        inv_adapter: "nice" adds an invertible adapter behind the embeddings (MAD-X); see
            `kzoo.adapters.methods.invertible`. AdapterHub's "glow" is not offered: it cannot run
            there on (batch, tokens, features) either.
        inv_adapter_reduction_factor: Half of the trunk width over the width inside of it.
    """

    layer = "kzoo.adapters.layers.bottleneck:BottleneckLayer"

    reduction_factor: PositiveFloat | dict[str, PositiveFloat] = 16.0
    non_linearity: NonLinearity = "relu"
    attention: bool = False
    cross_attention: bool = False
    ffn: bool = True
    parallel: bool = False
    scaling: float | Literal["learned", "channel"] = 1.0
    original_ln_before: bool = False
    original_ln_after: bool = True
    residual_before_ln: bool | Literal["post_add"] = True
    ln_before: bool = False
    ln_after: bool = False
    adapter_residual_before_ln: bool = False
    use_gating: bool = False
    dropout: Share = 0.0
    stochastic_depth: Share = 0.0
    init_weights: Literal["identity", "bert", "mam_adapter", "houlsby"] = "identity"
    inv_adapter: Literal["nice"] | None = None
    inv_adapter_reduction_factor: PositiveFloat = 2.0

    @field_validator("reduction_factor", mode="before")
    @classmethod
    def _text_keys(cls, value: Any) -> Any:
        return {str(k): v for k, v in value.items()} if isinstance(value, Mapping) else value

    def model_post_init(self, context: object) -> None:
        """Refuses configurations that mean nothing."""
        if not (self.attention or self.cross_attention or self.ffn):
            raise ValueError(
                "at least one of `attention` and `ffn`, or `cross_attention`, must be true"
            )
        if self.parallel and (self.original_ln_before or self.adapter_residual_before_ln):
            raise ValueError(
                "`parallel` adapters have no residual and no norm of the block in front of them: "
                "`original_ln_before` and `adapter_residual_before_ln` must be false"
            )
        if not self.original_ln_before and not self.original_ln_after:
            raise ValueError(
                "`original_ln_after=false` would lose the residual; it needs "
                "`original_ln_before=true`"
            )
        if self.residual_before_ln == "post_add" and not self.original_ln_before:
            raise ValueError('`residual_before_ln` "post_add" needs `original_ln_before=true`')
        if self.adapter_residual_before_ln and not self.ln_after:
            raise ValueError("`adapter_residual_before_ln` needs `ln_after=true`")

    # --- Where -------------------------------------------------------------------------------

    @property
    def sites(self) -> tuple[str, ...]:
        """Norms when the norm is used twice, else the projections before the residual."""
        return self._sites(pre_norm=False)

    def sites_on(self, places: Sequence[Place]) -> tuple[str, ...]:
        """Always the projections where the blocks normalise first."""
        pre_norm = any(place.pre_norm for place in places)
        odd = not self.original_ln_after or self.residual_before_ln is not True
        if pre_norm and self.original_ln_before and odd:
            raise AdapterError(
                f"`{self.method}`: `original_ln_after` and `residual_before_ln` are about the norm "
                "behind a sublayer, and this model normalises in front of it. Leave them out."
            )
        return self._sites(pre_norm, places)

    def choose(self, places: Sequence[Place]) -> list[Place]:
        """The adapters' places, and those where the residual input can be seen."""
        names = self.sites_on(places)
        chosen = {p.key for p in super().choose(places) if p.name in names or p.key in names}
        inputs = {self.input_key(p): p.key for p in places if p.key in chosen}
        inputs.pop(None, None)
        known = {place.key for place in places}
        for key, own in inputs.items():
            if key not in known:
                raise AdapterError(
                    f"`{self.method}` at {own} needs the residual input, which goes into {key}; "
                    "this model does not have that."
                )
        return [place for place in places if place.key in chosen or place.key in inputs]

    def input_key(self, place: Place) -> str | None:
        """Key of the sublayer that takes h, or None where an adapter does without."""
        part, _, _ = place.name.rpartition("_")
        if not self.is_body(place) or not self._needs_input(place.pre_norm):
            return None
        prefix = place.key[: -len(place.name)]
        if place.pre_norm:
            return f"{prefix}{part}_norm"
        # Not the query: DeBERTa sends its relative positions through it, too.
        names = {"attention": "value", "cross_attention": "cross_query", "ffn": "ffn_intermediate"}
        return prefix + names[part]

    def _sites(self, pre_norm: bool, places: Sequence[Place] = ()) -> tuple[str, ...]:
        inverse = self.invertible.sites_on(places) if self.invertible else ()
        return (*inverse, *self._body_names(pre_norm))

    def _body_names(self, pre_norm: bool) -> tuple[str, ...]:
        kind = "norm" if self.original_ln_before and not pre_norm else "output"
        parts = {
            "attention": self.attention,
            "cross_attention": self.cross_attention,
            "ffn": self.ffn,
        }
        return tuple(f"{part}_{kind}" for part, wanted in parts.items() if wanted)

    def is_body(self, place: Place) -> bool:
        """Whether a bottleneck stands there, and not something that belongs to one."""
        return place.name in self._body_names(place.pre_norm)

    def _needs_input(self, pre_norm: bool) -> bool:
        if self.parallel or (self.original_ln_before and pre_norm):
            return True
        if not self.original_ln_before:
            return False
        if self.residual_before_ln is True:  # x alone is known only as the sum minus h
            return self.adapter_residual_before_ln or not self.original_ln_after
        return self.original_ln_after

    # --- What --------------------------------------------------------------------------------

    @property
    def invertible(self) -> InvertibleConfig | None:
        """The adapter behind the embeddings, if one is asked for."""
        if self.inv_adapter is None:
            return None
        return InvertibleConfig(
            method="invertible",
            reduction_factor=self.inv_adapter_reduction_factor,
            non_linearity=self.non_linearity,
            init_weights="bert" if self.init_weights == "bert" else "identity",
        )

    def width(self, hidden_dim: int, block: int | None = None) -> int:
        """Bottleneck width for a trunk width; at least 1.

        Raises:
            AdapterError: `reduction_factor` has nothing for this block.
        """
        factor = self.reduction_factor
        if isinstance(factor, dict):
            found = factor.get(str(block), factor.get("default"))
            if found is None:
                raise AdapterError(
                    f'`reduction_factor` must name block {block} or "default". Received: {factor}'
                )
            factor = found
        return max(1, int(hidden_dim // factor))

    def count_at(self, place: Place) -> int:
        """2 H d weights and d + H biases; learned scaling, gate and new norms."""
        if not self.is_body(place):
            inverse = self.invertible if place.site == "embeddings_norm" else None
            return inverse.count_at(place) if inverse else 0
        hidden = place.size_out
        scaling = {"learned": 1, "channel": hidden}.get(str(self.scaling), 0)
        norms = 2 * hidden * (self.ln_before + self.ln_after)
        gate = (hidden + 1) * self.use_gating
        return self.count_projections(hidden, self.width(hidden, place.block)) + (
            scaling + norms + gate
        )

    def count_projections(self, hidden: int, width: int) -> int:
        """Parameters of the two projections."""
        return 2 * hidden * width + width + hidden

    def make_layer(self, place: Place, building: Building) -> Any:
        """A bottleneck, or an invertible adapter, or what remembers h (imports Keras)."""
        if self.is_body(place):
            return super().make_layer(place, building)
        if self.invertible is not None and place.site == "embeddings_norm":
            return self.invertible.make_layer(place, building)
        from kzoo.adapters.layers.bottleneck import Tap

        return Tap(self, place, building)
