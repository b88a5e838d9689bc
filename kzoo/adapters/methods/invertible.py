"""Invertible adapters (Pfeiffer et al. 2020, arXiv:2005.00052), as NICE (Dinh 2015, 1410.8516)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import PositiveFloat

from kzoo.adapters.config import AdapterConfig, NonLinearity, register_method
from kzoo.backbones.places import Place


@register_method("invertible")
class InvertibleConfig(AdapterConfig):
    """An additive coupling behind the embeddings that can be undone exactly.

    With the embedding (x1, x2) in two halves: y1 = x1 + F(x2), y2 = x2 + G(y1), and backwards
    x2 = y2 - G(y1), x1 = y1 - F(x2), which a masked-language-model head applies to its input. F
    and G are two dense layers each; the second starts at zero, so that an untrained adapter is an
    exact identity. In an encoder-decoder it stands in the encoder.

    Args:
        reduction_factor: Half of the embedding width over the width inside of F and G.
        non_linearity: Between the two layers.
        init_weights: "identity" (first layer N(0, 0.02), second zero) or "bert" (both N(0, 0.02)).
    """

    layer = "kzoo.adapters.layers.invertible:NiceLayer"

    reduction_factor: PositiveFloat = 2.0
    non_linearity: NonLinearity = "relu"
    init_weights: Literal["identity", "bert"] = "identity"

    @property
    def sites(self) -> tuple[str, ...]:
        """The norm that ends the embedding block."""
        return ("embeddings_norm",)

    def sites_on(self, places: Sequence[Place]) -> tuple[str, ...]:
        """The encoder's, where there are two."""
        own = tuple(p.key for p in places if p.key == "encoder.embeddings_norm")
        return own or self.sites

    def halves(self, width: int) -> tuple[int, int]:
        """Widths of x1 and x2."""
        return width // 2, width - width // 2

    def inner_width(self, size_in: int) -> int:
        """Width inside of F or G; at least 1."""
        return max(1, int(size_in // self.reduction_factor))

    def count_at(self, place: Place) -> int:
        """Two dense layers with biases in each of F and G."""
        first, second = self.halves(place.size_out)
        total = 0
        for size_in, size_out in ((second, first), (first, second)):
            inside = self.inner_width(size_in)
            total += inside * (size_in + 1) + size_out * (inside + 1)
        return total
