"""Compacter (Mahabadi et al. 2021, arXiv:2106.04647): bottlenecks of Kronecker products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import PositiveFloat, PositiveInt

from kzoo.adapters.config import register_method
from kzoo.adapters.methods.bottleneck import BottleneckConfig
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError

_DEFAULTS = {"ffn": True, "reduction_factor": 32, "non_linearity": "gelu"}


@register_method("compacter", **_DEFAULTS, attention=True)
@register_method("compacter++", **_DEFAULTS, attention=False, original_ln_before=True)
class CompacterConfig(BottleneckConfig):
    """A bottleneck whose two matrices are W = sum_k kron(A_k, L_k R_k), y = x W + b.

    A_k is n x n and by default the same at every place, L_k (in / n, rank) and R_k (rank, out / n)
    are each place's own. `compacter` stands where Houlsby's adapter stands, `compacter++` where
    Pfeiffer's does. R of the up-projection starts at zero, so that an untrained adapter is an exact
    identity.

    Args:
        phm_dim: n. Both widths must be multiples of it.
        phm_rank: Rank of the second factor; null for a full (in / n, out / n) matrix.
        shared_phm_rule: Whether A is shared by all places, or each projection has its own.
        factorized_phm_rule: Whether A_k is a product of a column and a row.
        learn_phm: Whether A is trained.
        phm_bias: Whether there is b.
        phm_init_range: A starts as N(0, this). AdapterHub's 0.0001 makes the adapter small; here
            the zeros of R do, and an A that small would leave the gradients below Adam's epsilon.
        init_weights: "identity", or "bert": R of the up-projection is random too.
    """

    layer = "kzoo.adapters.layers.compacter:CompacterLayer"
    example = "reduction_factor=4"
    shared_layer = "kzoo.adapters.layers.compacter:PhmRule"

    phm_dim: PositiveInt = 4
    phm_rank: PositiveInt | None = 1
    shared_phm_rule: bool = True
    factorized_phm_rule: bool = False
    learn_phm: bool = True
    phm_bias: bool = True
    phm_init_range: PositiveFloat = 0.5
    init_weights: Literal["identity", "bert"] = "identity"

    def choose(self, places: Sequence[Place]) -> list[Place]:
        """As a bottleneck's; `phm_dim` has to fit.

        Raises:
            AdapterError: Also where a width is no multiple of `phm_dim`.
        """
        chosen = super().choose(places)
        for place in filter(self.is_body, chosen):
            widths = place.size_out, self.width(place.size_out, place.block)
            if any(width % self.phm_dim for width in widths):
                raise AdapterError(
                    f"`phm_dim` {self.phm_dim} must divide the widths outside and inside of the "
                    f"bottleneck. At {place.key}, they are {widths[0]} and {widths[1]}."
                )
        return chosen

    def make_shared(self, places: Sequence[Place], name: str, seed: int) -> Any:
        """The shared A, if it is shared (imports Keras)."""
        return super().make_shared(places, name, seed) if self.shared_phm_rule else None

    @property
    def rule_size(self) -> int:
        """Trainable parameters of one A."""
        n = self.phm_dim
        return self.learn_phm * (2 * n * n if self.factorized_phm_rule else n**3)

    def count_projections(self, hidden: int, width: int) -> int:
        """n rank (in / n + out / n) for each of the two, their biases, and A where it is own."""
        n, rank = self.phm_dim, self.phm_rank
        inside = hidden * width // n if rank is None else rank * (hidden + width)
        own = 0 if self.shared_phm_rule else self.rule_size
        return 2 * (inside + own) + self.phm_bias * (hidden + width)

    def count_shared(self, places: Sequence[Place]) -> int:
        """A, where it is shared."""
        return self.rule_size if self.shared_phm_rule else 0
