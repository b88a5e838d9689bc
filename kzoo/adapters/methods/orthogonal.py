"""Methods that rotate the input of a projection, or its output: OFT, BOFT, HRA, RoAd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from kzoo.adapters.config import register_method
from kzoo.adapters.targets import Rate, TargetedConfig, is_embedding
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError


def nearest_divisor(size: int, wanted: int) -> int:
    """The divisor of `size` that is nearest to `wanted`; the smaller one of two."""
    divisors = (n for n in range(1, size + 1) if size % n == 0)
    return min(divisors, key=lambda n: (abs(n - wanted), n))


def _one_of_both(block_size: int, num_blocks: int) -> None:
    if bool(block_size) == bool(num_blocks):
        raise ValueError(
            "`block_size` and `num_blocks`: one of both must be 0, and the other one not. "
            f"Received: {block_size} and {num_blocks}"
        )


@register_method("oft")
class OftConfig(TargetedConfig):
    """Rotates blocks of the input before the projection: y = (x R) W + b, R block-diagonal.

    OFT (Qiu et al. 2023, arXiv:2306.07280), rotating the input as OFTv2 (arXiv:2506.19847).

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
        _one_of_both(self.block_size, self.num_blocks)

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


@register_method("boft")
class BoftConfig(TargetedConfig):
    """A product of block-diagonal rotations with a butterfly's permutations between them.

    BOFT (Liu et al. 2024, arXiv:2311.06243, section 4): y = s * ((x R) W) + b with
    R = B_m ... B_1, B_i = P_i diag(Q_1, Q_2, ...) P_i^T, so that m factors of small blocks reach
    what OFT needs wide ones for. Each Q = (I - S)(I + S)^-1 (Cayley) of a skew-symmetric S, the
    half difference of a trained square and its transpose. s, one number an output, is HF PEFT's.
    Squares start at zero and s at one, so that an untrained adapter is an exact identity.

    Args:
        targets: Sites, names or keys of projections; or `all-linear`.
        block_size: Width of a block, which divides every input. Give this or `num_blocks`.
        num_blocks: Number of blocks; 0 for as many as `block_size` makes.
        factors: Number m of rotations. With more than one, blocks have an even width, and their
            number is a multiple of 2^(m - 1).
        dropout: Share of blocks that are not rotated, in training.
    """

    layer = "kzoo.adapters.layers.orthogonal:BoftLayer"

    block_size: NonNegativeInt = 4
    num_blocks: NonNegativeInt = 0
    factors: PositiveInt = 1
    dropout: Rate = 0.0

    def model_post_init(self, context: object) -> None:
        """Exactly one of both sizes may be given."""
        _one_of_both(self.block_size, self.num_blocks)

    def blocks(self, size_in: int) -> tuple[int, int]:
        """(number of blocks, width of a block) for an input width."""
        if self.num_blocks:
            return self.num_blocks, size_in // self.num_blocks
        return size_in // self.block_size, self.block_size

    def choose(self, places: Sequence[Place]) -> list[Place]:
        """As for every method; the blocks must fit.

        Raises:
            AdapterError: Also where they leave a rest, or do not suit the butterfly.
        """
        chosen = super().choose(places)
        for place in chosen:
            option = "num_blocks" if self.num_blocks else "block_size"
            self.check_divides(option, self.num_blocks or self.block_size, place.size_in)
            number, width = self.blocks(place.size_in)
            if self.factors > 1 and (width % 2 or number % 2 ** (self.factors - 1)):
                raise AdapterError(
                    f"`factors` {self.factors} of `boft` needs blocks of an even width, a multiple "
                    f"of {2 ** (self.factors - 1)} of them. Received: {number} of width {width} at "
                    f"{place.key}"
                )
        return chosen

    def count_at(self, place: Place) -> int:
        """Whole squares, as in PEFT, and a number for each output."""
        number, width = self.blocks(place.size_in)
        return self.factors * number * width**2 + place.size_out


@register_method("hra")
class HraConfig(TargetedConfig):
    """Reflects the input r times: y = (x H_r ... H_1) W + b, with H_i = I - 2 u_i u_i^T.

    HRA (Yuan et al. 2024, arXiv:2405.17484, equation 5); each u_i is divided by its norm. At the
    beginning u_1 = u_2, u_3 = u_4 and so on, and equal reflections undo each other: an untrained
    adapter is an identity but for rounding.

    Args:
        targets: Sites, names or keys of projections; or `all-linear`.
        r: Number of reflections, an even one.
        orthogonal: Make the u_i orthogonal to each other first (Gram-Schmidt; PEFT's `apply_GS`):
            y = (x (I - 2 V V^T)) W + b. That is no identity for any u, so that all of them start
            at random.
    """

    layer = "kzoo.adapters.layers.orthogonal:HraLayer"

    r: PositiveInt = 8
    orthogonal: bool = False

    def count_at(self, place: Place) -> int:
        """One vector for each reflection."""
        return self.r * place.size_in


# Vectors of `out` numbers, as many as theta has, and alpha.
ROAD_SIZES = {"road_1": 0.5, "road_2": 1.0, "road_4": 2.0}


@register_method("road")
class RoadConfig(TargetedConfig):
    """Rotates and stretches pairs of outputs: number j of a group with number j + group_size / 2.

    RoAd (Liao et al. 2024, arXiv:2409.00119, equation 4): y1' = a cos(t) y1 - a sin(t) y2 and
    y2' = a sin(t) y1 + a cos(t) y2, of the whole output, bias included. Angles start at zero and
    factors at one, so that an untrained adapter is an exact identity.

    Args:
        targets: Sites, names or keys of projections; or `all-linear`.
        variant: `road_1`: an angle and a factor for each pair; `road_2`: for each output;
            `road_4`: for each of the four numbers of each pair's matrix.
        group_size: An even number that divides every output.
    """

    layer = "kzoo.adapters.layers.orthogonal:RoadLayer"

    variant: Literal["road_1", "road_2", "road_4"] = "road_1"
    group_size: int = Field(default=2, ge=2, multiple_of=2)

    def choose(self, places: Sequence[Place]) -> list[Place]:
        """As for every method; the groups must fit."""
        chosen = super().choose(places)
        for place in chosen:
            self.check_divides("group_size", self.group_size, place.size_out)
        return chosen

    def size_at(self, place: Place) -> int:
        """Number of angles."""
        return int(ROAD_SIZES[self.variant] * place.size_out)

    def count_at(self, place: Place) -> int:
        """Angles and factors."""
        return 2 * self.size_at(place)
