"""Bottleneck adapters (Houlsby et al. 2019, arXiv:1902.00751; Pfeiffer et al. 2021, 2005.00247)."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat

from kzoo.adapters.config import AdapterConfig, register_method
from kzoo.backbones.places import Place

NonLinearity = Literal["relu", "swish", "silu", "gelu", "gelu_new", "tanh", "leakyrelu"]


@register_method("pfeiffer", attention=False, ffn=True, original_ln_before=True)
@register_method(
    "houlsby", attention=True, ffn=True, original_ln_before=False, non_linearity="swish"
)
@register_method("bottleneck")
class BottleneckConfig(AdapterConfig):
    """Down-projection, non-linearity, up-projection, residual; options as AdapterHub defines them.

    With x the sublayer's output, h the block's residual input, LN the block's own layer norm and
    A(u) = up(f(down(u))):

    - `original_ln_before=False` (Houlsby, AdapterHub `double_seq_bn`): LN(A(x) + x + h);
    - `original_ln_before=True` (Pfeiffer, AdapterHub `seq_bn`): LN(A(LN(x + h)) + x + h).

    The up-projection starts at zero, so that an untrained adapter is an exact identity.

    Args:
        reduction_factor: Trunk width over bottleneck width.
        non_linearity: f above.
        attention: Place one after the attention sublayer.
        ffn: Place one after the feed-forward sublayer.
        original_ln_before: Whether the block's layer norm runs before the adapter as well.
    """

    layer = "kzoo.adapters.layers.bottleneck:BottleneckLayer"

    reduction_factor: PositiveFloat = 16
    non_linearity: NonLinearity = "relu"
    attention: bool = False
    ffn: bool = True
    original_ln_before: bool = False

    def model_post_init(self, context: object) -> None:
        """Refuses a configuration without a place."""
        if not (self.attention or self.ffn):
            raise ValueError("at least one of `attention` and `ffn` must be true")

    @property
    def sites(self) -> tuple[str, ...]:
        """Norms when the norm is used twice, else the projections before the residual."""
        kind = "norm" if self.original_ln_before else "output"
        places = (("attention", self.attention), ("ffn", self.ffn))
        return tuple(f"{place}_{kind}" for place, wanted in places if wanted)

    def width(self, hidden_dim: int) -> int:
        """Bottleneck width for a trunk width; at least 1."""
        return max(1, int(hidden_dim // self.reduction_factor))

    def count_at(self, place: Place) -> int:
        """2 H d weights, d + H biases."""
        hidden = place.size_out
        width = self.width(hidden)
        return 2 * hidden * width + width + hidden
