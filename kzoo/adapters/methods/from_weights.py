"""Updates that are made of the weights they change: HiRA, GLoRA, DEFT."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from kzoo.adapters.config import register_method
from kzoo.adapters.targets import Rate, TargetedConfig
from kzoo.backbones.places import Place


@register_method("hira")
class HiraConfig(TargetedConfig):
    """A low-rank matrix times the frozen weights, number by number: W' = W + W * (B A).

    HiRA (Huang et al. 2025, openreview TwJrTz9cRS, equation 3): the update has up to the rank of W.
    B starts at zero, so that an untrained adapter is an exact identity. At an embedding, A does.

    Args:
        targets: Sites, names or keys of projections and embeddings; or `all-linear`.
        r: Rank of B A, the same at every target: HF PEFT has a `rank_pattern` and ignores it.
        dropout: Share of inputs of the update dropped in training; none at embeddings.
    """

    layer = "kzoo.adapters.layers.from_weights:HiraLayer"
    embeddings: ClassVar[bool] = True

    r: PositiveInt = 32
    dropout: Rate = 0.0

    def count_at(self, place: Place) -> int:
        """Both factors."""
        return self.r * (place.size_in + place.size_out)


@register_method("glora")
class GloraConfig(TargetedConfig):
    """Rescales and shifts weights and bias: W' = W + W * A + B, b' = b + d b + e + C W.

    GLoRA (Chavan et al. 2023, arXiv:2306.07967, equation 10) in HF PEFT's default form: A and B
    (in, out) and C (in,) are products of two factors, d and e single numbers. Without a bias there
    are only A and B. One factor of each starts at zero, and so do d and e, so that an untrained
    adapter is an exact identity.

    Args:
        targets: Sites, names or keys of projections; or `all-linear`.
        r: Rank of A, B and C.
    """

    layer = "kzoo.adapters.layers.from_weights:GloraLayer"

    r: PositiveInt = 8

    def count_at(self, place: Place) -> int:
        """Two pairs of factors; with a bias another one and two numbers."""
        matrices = 2 * self.r * (place.size_in + place.size_out)
        return matrices + (self.r * (place.size_in + 1) + 2 if place.bias else 0)


@register_method("deft")
class DeftConfig(TargetedConfig):
    """Takes what W does in a subspace of the outputs out of it, and puts something else in.

    DEFT in HF PEFT's form (torch's W of shape (out, in)): W' = W - Q (P^T W) + s Q R with trained
    P (out, r) and R (r, in). R starts as P^T W / s, so that an untrained adapter is an identity but
    for rounding.

    Args:
        targets: Sites, names or keys of projections; or `all-linear`.
        r: Width of the subspace, or a target's outputs where they are fewer.
        alpha: s = alpha / r. Default: s = 1.
        projector: `relu`: Q is P, and P^T stands for relu(P)^T; `qr`: Q is an orthonormal basis of
            P's columns, in both places.
        removal_only: Train no R (PaRa): W' = W - Q (P^T W), which is no identity for any P.
        dropout: Share of inputs of R dropped in training.
    """

    layer = "kzoo.adapters.layers.from_weights:DeftLayer"

    r: PositiveInt = 8
    alpha: PositiveFloat | None = None
    projector: Literal["relu", "qr"] = "relu"
    removal_only: bool = False
    dropout: Rate = 0.0

    def rank_at(self, place: Place) -> int:
        """Width of the subspace at one place."""
        return min(self.r, place.size_out)

    def count_at(self, place: Place) -> int:
        """P, and R."""
        return self.rank_at(place) * (place.size_out + (0 if self.removal_only else place.size_in))
