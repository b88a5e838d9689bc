"""LoHa and LoKr (both Yeh et al. 2024, arXiv:2309.14859).

Hyeon-Woo et al. 2022, FedPara, arXiv:2108.06098; Edalati et al. 2022, KronA, 2212.10650.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import field_validator

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

    layer = "kzoo.adapters.layers.lycoris:LohaLayer"

    rank_dropout: Rate = 0.0
    module_dropout: Rate = 0.0

    @property
    def rank_dropout_scale(self) -> bool:
        """Whether what is left by `rank_dropout` is scaled up."""
        return True

    def count_at(self, place: Place) -> int:
        """Two pairs of factors."""
        return 2 * self.rank_at(place) * (place.size_in + place.size_out)


def factorize(size: int, factor: int = -1) -> tuple[int, int]:
    """Splits a width into two factors, the smaller one first; LyCORIS' rule.

    Args:
        size: What is split.
        factor: Taken as the first factor where it divides `size`. Otherwise the first one is the
            largest divisor up to it and up to the square root of `size`. -1: no bound, so that
            both are as near to each other as can be.

    Returns:
        Two numbers whose product is `size`.
    """
    if factor > 0 and size % factor == 0:
        return factor, size // factor
    bound = math.isqrt(size)
    bound = bound if factor == -1 else min(bound, factor)
    small = max(n for n in range(1, bound + 1) if size % n == 0)
    return small, size // small


@register_method("lokr")
class LokrConfig(LowRankConfig):
    """A Kronecker product of two small matrices: W' = W + (alpha / r) kron(C, B A).

    C is small enough to be kept whole; the other one is kept whole as well where r is at least half
    of its larger side. One factor starts at zero, so that an untrained adapter is an identity.

    Args:
        targets: Sites, names or keys of projections; or `all-linear`.
        r: Rank of the decomposed matrices.
        alpha: The update is scaled by alpha / r, also where nothing is decomposed (as in PEFT).
        rank_pattern: Other ranks for some targets: site, name or key -> r; the first that fits.
        alpha_pattern: The same for alpha.
        decompose_both: Decompose C too, where r is below half of its larger side.
        decompose_factor: See `factorize`; -1 or a positive number.
        init: `peft` starts the first matrix at zero, `lycoris` the second one.
        rank_dropout: Share of the update's outputs dropped in training.
        rank_dropout_scale: Scale up what is left by `rank_dropout`.
        module_dropout: Probability with which a whole update is left out of a training step.
    """

    layer = "kzoo.adapters.layers.lycoris:LokrLayer"

    decompose_both: bool = False
    decompose_factor: int = -1
    init: Literal["peft", "lycoris"] = "peft"
    rank_dropout: Rate = 0.0
    rank_dropout_scale: bool = False
    module_dropout: Rate = 0.0

    @field_validator("decompose_factor")
    @classmethod
    def _positive(cls, value: int) -> int:
        if value != -1 and value < 1:
            raise ValueError("must be -1 or a positive number")
        return value

    def sides(self, place: Place) -> tuple[tuple[int, int], tuple[int, int]]:
        """(in, out) of both matrices."""
        in_1, in_2 = factorize(place.size_in, self.decompose_factor)
        out_1, out_2 = factorize(place.size_out, self.decompose_factor)
        return (in_1, out_1), (in_2, out_2)

    def whole(self, place: Place) -> tuple[bool, bool]:
        """Which of the two matrices are not decomposed."""
        first, second = self.sides(place)
        r = self.rank_at(place)
        return not (self.decompose_both and r < max(first) / 2), r >= max(second) / 2

    def count_at(self, place: Place) -> int:
        """Each matrix, or its two factors."""
        counts = zip(self.sides(place), self.whole(place), strict=True)
        r = self.rank_at(place)
        return sum(n * m if whole else r * (n + m) for (n, m), whole in counts)
