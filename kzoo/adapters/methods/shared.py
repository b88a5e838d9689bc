"""Low-rank updates whose places share random matrices or a bank: VeRA, RandLoRA, VB-LoRA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from kzoo.adapters.config import register_method
from kzoo.adapters.targets import Rate, TargetedConfig
from kzoo.backbones.places import Place


@register_method("vera")
class VeraConfig(TargetedConfig):
    """Trained vectors around random matrices that all places share: W' = W + b * (B (d * A)).

    VeRA (Kopiczko et al. 2024, arXiv:2310.11454, equation 2). A and B are frozen and as wide as the
    widest target needs; narrower ones use their first rows and columns. b starts at zero, so that
    an untrained adapter is an exact identity. The random matrices are saved with the adapter, as
    numbers that another library can use.

    Args:
        targets: Sites, names or keys of projections; or `all-linear`.
        r: Rank of the shared matrices; larger than LoRA's, as it costs little.
        d_initial: Initial value of d.
        dropout: Share of inputs of A dropped in training.
    """

    layer = "kzoo.adapters.layers.shared:VeraLayer"
    shared_layer = "kzoo.adapters.layers.shared:VeraProjections"
    first_ranks: ClassVar[int] = 1  # so many times r is the rank of A

    r: PositiveInt = 256
    d_initial: float = 0.1
    dropout: Rate = 0.0

    def count_at(self, place: Place) -> int:
        """One number for each rank and one for each output."""
        return self.r + place.size_out


@register_method("randlora")
class RandloraConfig(TargetedConfig):
    """A sum of random low-rank matrices, each scaled along its rank and its shorter side.

    RandLoRA (Albert et al. 2025, arXiv:2502.00987, equation 3): W' = W + s sum_n B_n L_n A G_n with
    diagonal L_n and G_n, as many terms as make the update of full rank, and random matrices that
    all places share. L starts at zero, so that an untrained adapter is an exact identity. The
    random matrices are saved with the adapter.

    Args:
        targets: Sites, names or keys of projections; or `all-linear`.
        r: Rank of a random matrix: the smaller, the more terms and numbers there are.
        alpha: s = alpha / r.
        sparse: Random matrices of -1, 0 and 1, two thirds of them 0 (scaled to variance 1).
        very_sparse: The same, with all but one of sqrt(shorter side) 0.
        dropout: Share of inputs of the update dropped in training.
    """

    layer = "kzoo.adapters.layers.shared:RandloraLayer"
    shared_layer = "kzoo.adapters.layers.shared:RandloraBases"

    r: PositiveInt = 32
    alpha: PositiveFloat = 640.0
    sparse: bool = False
    very_sparse: bool = False
    dropout: Rate = 0.0

    def terms(self, side: int) -> int:
        """Number of terms for a matrix whose shorter side is this."""
        return -(-side // self.r)

    def count_at(self, place: Place) -> int:
        """For each term, a number for each rank and each of the shorter side."""
        side = min(place.size_in, place.size_out)
        return self.terms(side) * (self.r + side)


@register_method("vblora")
class VbloraConfig(TargetedConfig):
    """LoRA's factors, cut in short vectors that are mixtures of a bank's.

    VB-LoRA (Li et al. 2024, arXiv:2405.15179, equations 3 and 4): each piece of A and B is the sum
    of its `topk` vectors of the bank, weighted by the softmax of its logits. All places share one
    bank. Logits and bank start at random, so that an untrained adapter is near to an identity but
    is none, as in the paper and in HF PEFT.

    Args:
        targets: Sites, names or keys of projections; or `all-linear`.
        r: Rank.
        num_vectors: Vectors in the bank, at least `topk`.
        vector_length: Length of a vector; divides both sides of every target.
        topk: Vectors in a mixture.
        dropout: Share of inputs of the update dropped in training.
        bank_bound: The bank starts uniformly between -bank_bound and bank_bound.
        logits_std: Standard deviation of the initial logits.
    """

    layer = "kzoo.adapters.layers.shared:VbloraLayer"
    shared_layer = "kzoo.adapters.layers.shared:VectorBank"
    example = "vector_length=4"

    r: PositiveInt = 4
    num_vectors: PositiveInt = 256
    vector_length: PositiveInt = 256
    topk: PositiveInt = 2
    dropout: Rate = 0.0
    bank_bound: PositiveFloat = 0.02
    logits_std: NonNegativeFloat = 0.1

    def model_post_init(self, context: object) -> None:
        """A mixture needs that many vectors."""
        if self.topk > self.num_vectors:
            raise ValueError(
                f"`topk` must be at most `num_vectors` ({self.num_vectors}). Received: {self.topk}"
            )

    def choose(self, places: Sequence[Place]) -> list[Place]:
        """As for every method; the vectors must fit."""
        chosen = super().choose(places)
        for place in chosen:
            self.check_divides("vector_length", self.vector_length, place.size_in, place.size_out)
        return chosen

    def count_at(self, place: Place) -> int:
        """The logits."""
        pieces = (place.size_in + place.size_out) // self.vector_length
        return self.r * pieces * self.num_vectors

    def count_shared(self, places: Sequence[Place]) -> int:
        """The bank."""
        return self.num_vectors * self.vector_length


@register_method("pvera")
class PveraConfig(VeraConfig):
    """VeRA whose narrow numbers are drawn in training: mean and log-variance are two of VeRA's.

    PVeRA (2025, arXiv:2512.07703): W' = W + b * (B z), where z is drawn from a normal distribution
    with mean d * (A x), and with the log-variance that further rows of d and A give. Outside of
    training z is the mean, and the adapter is VeRA.

    Args:
        targets: Sites, names or keys of projections; or `all-linear`.
        r: Rank of the shared matrices.
        d_initial: Initial value of d.
        dropout: Share of inputs of A dropped in training.
    """

    layer = "kzoo.adapters.layers.shared:PveraLayer"
    first_ranks: ClassVar[int] = 2

    def count_at(self, place: Place) -> int:
        """Two numbers for each rank and one for each output."""
        return 2 * self.r + place.size_out
