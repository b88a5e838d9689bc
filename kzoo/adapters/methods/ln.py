"""LayerNorm tuning (Zhao et al. 2023, arXiv:2312.11420)."""

from __future__ import annotations

from kzoo.adapters.config import register_method
from kzoo.adapters.targets import EverywhereConfig, is_norm
from kzoo.backbones.places import NORM_SITES, Place


@register_method("ln")
class LnConfig(EverywhereConfig):
    """Trains a copy of the norms' scales and shifts, in place of the model's own.

    Layer norms and RMS norms, inside the blocks and outside of them. The copies start as the
    model's values, so that an untrained adapter is an exact identity.

    Args:
        targets: Sites, names or keys of norms. Default: all of them.
    """

    layer = "kzoo.adapters.layers.ln:LnLayer"
    kind = "norms"
    usual = NORM_SITES

    def suits(self, place: Place) -> bool:
        """Any norm."""
        return is_norm(place)

    def count_at(self, place: Place) -> int:
        """A scale, and a shift where the norm has one."""
        return (1 + place.bias) * place.size_out
