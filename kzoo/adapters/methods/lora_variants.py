"""AdaLoRA (Zhang et al. 2023, arXiv:2303.10512) and VeRA (Kopiczko et al. 2024, 2310.11454)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from kzoo.adapters.config import register_method
from kzoo.adapters.targets import Rate, TargetedConfig
from kzoo.backbones.places import Place

Beta = Annotated[float, Field(gt=0, lt=1)]


@register_method("adalora")
class AdaloraConfig(TargetedConfig):
    """A low-rank update as a singular value decomposition, W' = W + s A diag(E) B (equation 3).

    s = alpha / (init_r + 1e-5), as in HF PEFT. E starts at zero, so that an untrained adapter is an
    exact identity. A penalty keeps A and B near to orthogonal: PEFT's mean of ||A^T A - I|| and
    ||B B^T - I|| over all places (the paper, equation 4, adds up their squares).

    Fit with `kzoo.adapters.RankAllocator` among the callbacks: it removes the least important
    triplets (a column of A, a number of E, a row of B) until `target_r` a place are left on
    average. Without it, all of them stay.

    Args:
        targets: Sites, names or keys of projections; or `all-linear`.
        init_r: Triplets of each place at the beginning.
        target_r: Average number of triplets of a place at the end.
        alpha: Numerator of the scaling.
        dropout: Share of inputs of A dropped in training.
        tinit: Steps before the first triplet is removed.
        tfinal: Steps at the end, in which what is left is trained on.
        delta_t: Steps from one removal to the next.
        total_step: Steps of the whole training. Default: those of the fit.
        beta1: Smoothing of the sensitivity.
        beta2: Smoothing of its uncertainty.
        orth_reg_weight: Weight of the penalty.
    """

    layer = "kzoo.adapters.layers.lora_variants:AdaloraLayer"
    shared_layer = "kzoo.adapters.layers.lora_variants:PlaceCount"

    init_r: PositiveInt = 12
    target_r: PositiveInt = 8
    alpha: PositiveFloat = 8.0
    dropout: Rate = 0.0
    tinit: NonNegativeInt = 0
    tfinal: NonNegativeInt = 0
    delta_t: PositiveInt = 1
    total_step: PositiveInt | None = None
    beta1: Beta = 0.85
    beta2: Beta = 0.85
    orth_reg_weight: NonNegativeFloat = 0.5

    def model_post_init(self, context: object) -> None:
        """The rank can only shrink, in steps that exist."""
        if self.target_r > self.init_r:
            raise ValueError(
                f"`target_r` must be at most `init_r` ({self.init_r}). Received: {self.target_r}"
            )
        if self.total_step is not None and self.tinit + self.tfinal >= self.total_step:
            raise ValueError("`total_step` must be more than `tinit` + `tfinal`")

    @property
    def scaling(self) -> float:
        """Alpha / (init_r + 1e-5)."""
        return self.alpha / (self.init_r + 1e-5)

    def count_at(self, place: Place) -> int:
        """Init_r (in + out + 1)."""
        return self.init_r * (place.size_in + place.size_out + 1)


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

    layer = "kzoo.adapters.layers.lora_variants:VeraLayer"
    shared_layer = "kzoo.adapters.layers.lora_variants:VeraProjections"

    r: PositiveInt = 256
    d_initial: float = 0.1
    dropout: Rate = 0.0

    def count_at(self, place: Place) -> int:
        """One number for each rank and one for each output."""
        return self.r + place.size_out
