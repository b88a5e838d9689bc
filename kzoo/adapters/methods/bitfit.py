"""BitFit (Ben Zaken et al. 2022, arXiv:2106.10199)."""

from __future__ import annotations

from kzoo.adapters.config import register_method
from kzoo.adapters.targets import EverywhereConfig, is_linear, is_norm
from kzoo.backbones.places import LINEAR_SITES, NORM_SITES, Place


@register_method("bitfit")
class BitfitConfig(EverywhereConfig):
    """Trains a copy of the biases, in place of the model's own.

    Biases of projections and shifts of layer norms, inside the blocks and outside of them
    (section 3). The copies start as the model's values, so that an untrained adapter is an exact
    identity. Sublayers without a bias stay as they are.

    Args:
        targets: Sites, names or keys of sublayers with a bias. Default: all of them.
    """

    layer = "kzoo.adapters.layers.bitfit:BitfitLayer"
    kind = "projections and norms with a bias"
    usual = (*LINEAR_SITES, *NORM_SITES)

    def suits(self, place: Place) -> bool:
        """Any projection or norm that has a bias."""
        return place.bias and (is_linear(place) or is_norm(place))

    def count_at(self, place: Place) -> int:
        """The bias."""
        return place.size_out
