"""VeRA (Kopiczko et al. 2024, arXiv:2310.11454)."""

from __future__ import annotations

from pydantic import PositiveInt

from kzoo.adapters.config import register_method
from kzoo.adapters.targets import Rate, TargetedConfig
from kzoo.backbones.places import Place


@register_method("vera")
class VeraConfig(TargetedConfig):
    """Trained vectors around random matrices that all places share: W' = W + b * (B (d * A)).

    Equation 2. A and B are frozen and as wide as the widest target needs; narrower ones use their
    first rows and columns. b starts at zero, so that an untrained adapter is an exact identity. The
    random matrices are saved with the adapter, as numbers that another library can use.

    Args:
        targets: Sites, names or keys of projections; or `all-linear`.
        r: Rank of the shared matrices; larger than LoRA's, as it costs little.
        d_initial: Initial value of d.
        dropout: Share of inputs of A dropped in training.
    """

    layer = "kzoo.adapters.layers.vera:VeraLayer"
    shared_layer = "kzoo.adapters.layers.vera:VeraProjections"

    r: PositiveInt = 256
    d_initial: float = 0.1
    dropout: Rate = 0.0

    def count_at(self, place: Place) -> int:
        """One number for each rank and one for each output."""
        return self.r + place.size_out
