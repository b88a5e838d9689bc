"""ReFT: edits of the hidden states at a few positions (Wu et al. 2024, arXiv:2404.03592)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt

from kzoo.adapters.config import AdapterConfig, NonLinearity, register_method
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError


@register_method("loreft", orthogonal=True, subtract_projection=True)
@register_method("noreft", orthogonal=False, subtract_projection=True)
@register_method("direft", orthogonal=False, subtract_projection=False)
class ReftConfig(AdapterConfig):
    """Moves a block's output h within a subspace, at the first and last tokens of a text.

    - LoReFT: h + R^T (f(W h + b) - R h), R (r, H) with orthonormal rows;
    - NoReFT: the same with a free R;
    - DiReFT: h + R^T f(W h + b), with a free R.

    Positions are counted over the real tokens: padding is left alone, on whichever side it is. The
    first and the last positions have an R, W and b each, unless `tied`; where they overlap, the
    last ones win. AdapterHub makes both units even where one has no position; here only those
    exist that are used.

    W starts as R (DiReFT: as zero), so that an untrained adapter is an exact identity; not so with
    a `non_linearity` and a subtracted projection.

    While a decoder generates, only first positions can be found: later tokens come one by one, and
    KerasHub does not say where the prompt ends.

    Args:
        r: Rank.
        prefix_positions: Tokens edited at the start.
        suffix_positions: Tokens edited at the end.
        tied: Whether both share one R, W and b.
        orthogonal: Whether R has orthonormal rows. It is then computed in every step from a free
            matrix of the same size, as the Q of its QR decomposition with a positive diagonal.
        subtract_projection: Whether R h is subtracted.
        non_linearity: f; null for none.
        dropout: Share of the edited states dropped in training, as in the authors' code.
    """

    layer = "kzoo.adapters.layers.reft:ReftLayer"

    r: PositiveInt = 1
    prefix_positions: NonNegativeInt = 3
    suffix_positions: NonNegativeInt = 0
    tied: bool = False
    orthogonal: bool = True
    subtract_projection: bool = True
    non_linearity: NonLinearity | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def model_post_init(self, context: object) -> None:
        """Refuses a configuration without a position."""
        if not (self.prefix_positions or self.suffix_positions):
            raise ValueError(
                "at least one of `prefix_positions` and `suffix_positions` must be above 0"
            )

    @property
    def sites(self) -> tuple[str, ...]:
        """Whole blocks."""
        return ("block",)

    @property
    def units(self) -> tuple[str, ...]:
        """Names of the sets of R, W and b."""
        wanted = {"prefix": self.prefix_positions, "suffix": self.suffix_positions}
        return ("tied",) if self.tied else tuple(name for name, count in wanted.items() if count)

    def choose(self, places: Sequence[Place]) -> list[Place]:
        """The blocks, with the width of the residual stream as their size.

        Raises:
            AdapterError: Also where `r` is above that width.
        """
        widths = {p.block: p.size_out for p in places if p.site == "ffn_output"}
        chosen = []
        for place in super().choose(places):
            width = widths.get(place.block, 0)
            if self.r > width:
                raise AdapterError(
                    f"`r` must be at most the width of {place.key}, {width}. Received: {self.r}"
                )
            chosen.append(replace(place, size_in=width, size_out=width))
        return chosen

    def count_at(self, place: Place) -> int:
        """2 H r + r for each unit."""
        return len(self.units) * (2 * place.size_out * self.r + self.r)
