"""LoHa (Hyeon-Woo et al. 2022, FedPara, arXiv:2108.06098; Yeh et al. 2024, arXiv:2309.14859)."""

from __future__ import annotations

from kzoo.adapters.config import register_method
from kzoo.adapters.targets import LowRankConfig, Rate
from kzoo.backbones.places import Place


@register_method("loha")
class LohaConfig(LowRankConfig):
    """The product, number by number, of two low-rank matrices (FedPara, proposition 2).

    W' = W + (alpha / r) (B1 A1) * (B2 A2), of rank up to r squared for 2 r (in + out) numbers. One
    factor starts at zero, so that an untrained adapter is an exact identity.

    Args:
        targets: Sites, names or keys of projections; or `all-linear`.
        r: Rank of each of the two matrices.
        alpha: The update is scaled by alpha / r.
        rank_pattern: Other ranks for some targets: site, name or key -> r; the first that fits.
        alpha_pattern: The same for alpha.
        rank_dropout: Share of the update's outputs dropped in training; the rest is scaled up.
        module_dropout: Probability with which a whole update is left out of a training step.
    """

    layer = "kzoo.adapters.layers.loha:LohaLayer"

    rank_dropout: Rate = 0.0
    module_dropout: Rate = 0.0

    @property
    def rank_dropout_scale(self) -> bool:
        """Whether what is left by `rank_dropout` is scaled up."""
        return True

    def count_at(self, place: Place) -> int:
        """Two pairs of factors."""
        return 2 * self.rank_at(place) * (place.size_in + place.size_out)
