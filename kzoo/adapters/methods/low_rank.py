"""Low-rank updates that are more than a product of two factors: AdaLoRA, DeLoRA, GraLoRA, Lily."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from kzoo.adapters.config import register_method
from kzoo.adapters.targets import Rate, TargetedConfig
from kzoo.backbones.places import Place

Beta = Annotated[float, Field(gt=0, lt=1)]


@register_method("adalora")
class AdaloraConfig(TargetedConfig):
    """A low-rank update as a singular value decomposition, W' = W + s A diag(E) B (equation 3).

    AdaLoRA (Zhang et al. 2023, arXiv:2303.10512).
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

    layer = "kzoo.adapters.layers.low_rank:AdaloraLayer"
    shared_layer = "kzoo.adapters.layers.low_rank:PlaceCount"

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


@register_method("delora")
class DeloraConfig(TargetedConfig):
    """A sum of r rank-one matrices of norm 1, times one trained strength.

    DeLoRA (Bini et al. 2025, arXiv:2503.18225, equation 8): W' = W + (l / r) B N A diag(w), where N
    divides by the norms of the columns of B and of the rows of A, and w holds the norm of each
    column of W (torch's (out, in)). B starts at zero, so that an untrained adapter is an exact
    identity. w is kept with the adapter, as in HF PEFT.

    Args:
        targets: Sites, names or keys of projections; or `all-linear`.
        r: Number of rank-one matrices.
        strength: Initial value of l (PEFT's `delora_lambda`).
        rank_pattern: Other ranks for some targets: site, name or key -> r; the first that fits.
        lambda_pattern: The same for `strength`.
        dropout: Share of inputs of the update dropped in training (PEFT's `module_dropout`).
    """

    layer = "kzoo.adapters.layers.low_rank:DeloraLayer"
    patterns: ClassVar[Mapping[str, str]] = {"r": "rank_pattern", "strength": "lambda_pattern"}

    r: PositiveInt = 8
    strength: PositiveFloat = 15.0
    rank_pattern: dict[str, PositiveInt] = Field(default_factory=dict)
    lambda_pattern: dict[str, PositiveFloat] = Field(default_factory=dict)
    dropout: Rate = 0.0

    def count_at(self, place: Place) -> int:
        """Both factors and the strength."""
        return int(self.value_at("r", place)) * (place.size_in + place.size_out) + 1


@register_method("gralora")
class GraloraConfig(TargetedConfig):
    """The weights as k x k blocks with a low-rank update each, of rank r / k.

    GraLoRA (Jung et al. 2025, arXiv:2505.20355, section 3): as many numbers as LoRA of rank r, but
    of rank up to k r, and an outlying input spoils only the blocks of its own columns. With
    `hybrid_r`, a plain LoRA of that rank stands beside it. All is scaled by alpha / (r + hybrid_r).
    B starts at zero, so that an untrained adapter is an exact identity.

    Args:
        targets: Sites, names or keys of projections; or `all-linear`.
        r: Numbers as LoRA's of this rank; a multiple of k.
        alpha: Numerator of the scaling.
        k: Blocks along each side; divides both sides of every target.
        hybrid_r: Rank of the LoRA beside it, 0 for none.
        dropout: Share of inputs of the update dropped in training.
    """

    layer = "kzoo.adapters.layers.low_rank:GraloraLayer"

    r: PositiveInt = 32
    alpha: PositiveFloat = 64.0
    k: PositiveInt = 2
    hybrid_r: NonNegativeInt = 0
    dropout: Rate = 0.0

    def model_post_init(self, context: object) -> None:
        """Each block has its share of the rank."""
        if self.r % self.k:
            raise ValueError(f"`r` must be a multiple of `k` ({self.k}). Received: {self.r}")

    @property
    def scaling(self) -> float:
        """Alpha / (r + hybrid_r)."""
        return self.alpha / (self.r + self.hybrid_r)

    def choose(self, places: Sequence[Place]) -> list[Place]:
        """As for every method; the blocks must fit."""
        chosen = super().choose(places)
        for place in chosen:
            self.check_divides("k", self.k, place.size_in, place.size_out)
        return chosen

    def count_at(self, place: Place) -> int:
        """As many as LoRA of rank r, and the one beside it."""
        return (self.r + self.hybrid_r) * (place.size_in + place.size_out)


@register_method("lily")
class LilyConfig(TargetedConfig):
    """LoRA's B as a mixture of a few, which all layers share: x A (p_1 B_1 + p_2 B_2 + ...).

    Lily (Zhong et al. 2024, arXiv:2407.09946), as in HF PEFT: p is the softmax of a router's
    product with x A, averaged over **all tokens and rows of a batch**. So a row's output depends on
    the others in its batch, and a cached step of generation is not a step of a whole pass; adapters
    that must not depend on a batch are another method's. B starts at zero, so that an untrained
    adapter is an exact identity.

    Args:
        targets: Sites, names or keys of projections; or `all-linear`.
        r: Rank.
        stride: So many layers in turn share their A, among targets of one site and one shape.
        num_b: Number of B, shared by all targets of one site and one shape.
        scaling: What the update is multiplied by.
    """

    layer = "kzoo.adapters.layers.low_rank:LilyLayer"
    shared_layer = "kzoo.adapters.layers.low_rank:LilyFactors"

    r: PositiveInt = 32
    stride: PositiveInt = 1
    num_b: PositiveInt = 2
    scaling: PositiveFloat = 1.0

    def owners(self, places: Sequence[Place]) -> dict[str, tuple[str, str]]:
        """Whose A and B a place has: its key -> labels of both, the keys of their first places.

        Args:
            places: The chosen places, from the input upwards.
        """
        groups: dict[tuple[str, int, int], list[str]] = {}
        found = {}
        for place in places:
            group = groups.setdefault((place.site, place.size_in, place.size_out), [])
            group.append(place.key)
            first = (len(group) - 1) // self.stride * self.stride
            found[place.key] = (label_of(group[first]), label_of(group[0]))
        return found

    def count_at(self, place: Place) -> int:
        """The router."""
        return self.r * self.num_b

    def count_shared(self, places: Sequence[Place]) -> int:
        """All A and B."""
        sizes = {label_of(place.key): place for place in places}
        owners = self.owners(places).values()
        count = sum(self.r * sizes[label].size_in for label in {a for a, _ in owners})
        shared = {b for _, b in owners}
        return count + sum(self.num_b * self.r * sizes[label].size_out for label in shared)


def label_of(key: str) -> str:
    """A place's key as a part of a variable's name."""
    return key.replace(".", "_")
