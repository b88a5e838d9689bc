"""OFT (Qiu et al. 2023, arXiv:2306.07280), rotating the input as OFTv2 (arXiv:2506.19847)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, NonNegativeInt, PositiveFloat

from kzoo.adapters.config import register_method
from kzoo.adapters.targets import Rate, TargetedConfig, is_embedding
from kzoo.backbones.places import Place


def nearest_divisor(size: int, wanted: int) -> int:
    """The divisor of `size` that is nearest to `wanted`; the smaller one of two."""
    divisors = (n for n in range(1, size + 1) if size % n == 0)
    return min(divisors, key=lambda n: (abs(n - wanted), n))


@register_method("oft")
class OftConfig(TargetedConfig):
    """Rotates blocks of the input before the projection: y = (x R) W + b, R block-diagonal.

    Each block is R = (I + Q)(I - Q)^-1 (Cayley) of a skew-symmetric Q, of which the upper triangle
    is trained; Q = 0 at the beginning, so that an untrained adapter is an exact identity. By
    default the series I + 2Q + 2Q^2 + ... + Q^n stands for it, as in HF PEFT: cheaper, and as good
    while Q is small. The exact form in PEFT's files has Q with the other sign, and so has it here.

    Where a block size (or number of blocks) does not divide the width, the nearest divisor is
    taken, as PEFT does.

    At an embedding, its rows are rotated: y = row R.

    Args:
        targets: Sites, names or keys of projections and embeddings; or `all-linear`.
        block_size: Width of a block. Give either this or `num_blocks`.
        num_blocks: Number of blocks (PEFT's `r`); 0 for as many as `block_size` makes.
        cayley_neumann: Use the series.
        cayley_neumann_terms: Number of terms of the series, as PEFT counts: 5 ends with Q^4. Its 3
            and 4 are the same and end with Q^3.
        block_share: One rotation for all blocks.
        coft: Keep Q small: the norm of each block at most eps / sqrt(number of rotations).
        eps: See `coft`.
        module_dropout: Share of blocks that are not rotated, in training (not with `block_share`).
    """

    layer = "kzoo.adapters.layers.orthogonal:OftLayer"
    embeddings: ClassVar[bool] = True

    block_size: NonNegativeInt = 32
    num_blocks: NonNegativeInt = 0
    cayley_neumann: bool = True
    cayley_neumann_terms: int = Field(default=5, ge=2)
    block_share: bool = False
    coft: bool = False
    eps: PositiveFloat = 6e-5
    module_dropout: Rate = 0.0

    def model_post_init(self, context: object) -> None:
        """Exactly one of both sizes may be given."""
        if bool(self.block_size) == bool(self.num_blocks):
            raise ValueError(
                "`block_size` and `num_blocks`: one of both must be 0, and the other one not. "
                f"Received: {self.block_size} and {self.num_blocks}"
            )

    def width(self, place: Place) -> int:
        """Width of what is rotated."""
        return place.size_out if is_embedding(place) else place.size_in

    def blocks(self, size_in: int) -> tuple[int, int]:
        """(number of blocks, width of a block) for an input width."""
        if self.num_blocks:
            number = nearest_divisor(size_in, self.num_blocks)
            return number, size_in // number
        width = nearest_divisor(size_in, self.block_size)
        return size_in // width, width

    def count_at(self, place: Place) -> int:
        """The upper triangles of all rotations."""
        number, width = self.blocks(self.width(place))
        return (1 if self.block_share else number) * (width * (width - 1) // 2)
