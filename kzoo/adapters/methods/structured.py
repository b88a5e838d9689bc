"""Updates of full rank from few numbers: MiSS, C3A, SHiRA, FourierFT, WaveFT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from kzoo.adapters.config import register_method
from kzoo.adapters.targets import Rate, TargetedConfig
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError


@register_method("miss")
class MissConfig(TargetedConfig):
    """One small matrix, repeated along the inputs: y = x W + b + (sums of every r-th x) M.

    MiSS (Kang and Yin 2024, arXiv:2409.15371): M of shape (r, out) is added to each r rows of W
    (in, out); its step is the cheapest of the low-rank methods. M starts at zero, so that an
    untrained adapter is an exact identity.

    Args:
        targets: Sites, names or keys of projections; or `all-linear`.
        r: Rows of M (PEFT's default is 64), at most every input.
        variant: `miss`; `bat`: an r x r matrix for each r outputs, and each r x r block w of
            torch's W (out, in) becomes w + w M + M (of full rank); `mini`: M repeats along the
            outputs too.
        mini_r: Columns of M for `mini`; divides every output.
        dropout: Share of inputs of the update dropped in training; none with `bat`.
    """

    layer = "kzoo.adapters.layers.structured:MissLayer"

    r: PositiveInt = 8
    variant: Literal["miss", "bat", "mini"] = "miss"
    mini_r: PositiveInt = 1
    dropout: Rate = 0.0

    def model_post_init(self, context: object) -> None:
        """An option that would do nothing is refused."""
        if self.variant == "bat" and self.dropout:
            raise ValueError(f"`dropout` must be 0 with `variant` bat. Received: {self.dropout}")

    def choose(self, places: Sequence[Place]) -> list[Place]:
        """As for every method; the matrix must fit.

        Raises:
            AdapterError: Also where it does not.
        """
        chosen = super().choose(places)
        for place in chosen:
            if self.r > place.size_in:
                raise AdapterError(
                    f"`r` of `miss` must be at most {place.size_in}, the inputs of {place.key}. "
                    f"Received: {self.r}"
                )
            if self.variant == "bat":
                self.check_divides("r", self.r, place.size_in, place.size_out)
            elif self.variant == "mini":
                self.check_divides("mini_r", self.mini_r, place.size_out)
        return chosen

    def shape_at(self, place: Place) -> tuple[int, ...]:
        """Shape of M."""
        if self.variant == "bat":
            return place.size_out // self.r, self.r, self.r
        return self.r, self.mini_r if self.variant == "mini" else place.size_out

    def count_at(self, place: Place) -> int:
        """The numbers of M."""
        count = 1
        for size in self.shape_at(place):
            count *= size
        return count


@register_method("c3a")
class C3aConfig(TargetedConfig):
    """Circular convolutions, block by block: W' = W + blocks that are circulant, each b numbers.

    C3A (Chen et al. 2024, arXiv:2407.19342, section 3.3), divided by the number of inputs as in HF
    PEFT. The update may be of full rank, with in * out / b numbers.

    Args:
        targets: Sites, names or keys of projections; or `all-linear`.
        block_size: b, which divides both sides of every target.
        block_size_pattern: Other sizes for some targets: site, name or key -> b; the first that
            fits.
        init: Initial numbers: `zeros`, so that an untrained adapter is an exact identity, or
            `xavier_uniform` (the paper's and PEFT's), `kaiming_uniform`, `gaussian`.
    """

    layer = "kzoo.adapters.layers.structured:C3aLayer"
    example = "block_size=4"
    patterns: ClassVar[Mapping[str, str]] = {"block_size": "block_size_pattern"}

    block_size: PositiveInt
    block_size_pattern: dict[str, PositiveInt] = Field(default_factory=dict)
    init: Literal["zeros", "xavier_uniform", "kaiming_uniform", "gaussian"] = "zeros"

    def choose(self, places: Sequence[Place]) -> list[Place]:
        """As for every method; the blocks must fit."""
        chosen = super().choose(places)
        for place in chosen:
            size = int(self.value_at("block_size", place))
            self.check_divides("block_size", size, place.size_in, place.size_out)
        return chosen

    def count_at(self, place: Place) -> int:
        """In * out / b."""
        return place.size_in * place.size_out // int(self.value_at("block_size", place))


@register_method("shira")
class ShiraConfig(TargetedConfig):
    """A sparse update: W' = W + some trained numbers at random places.

    SHiRA (Bhardwaj et al. 2024, arXiv:2406.13175), with its random mask: as many numbers as LoRA of
    rank r. They start at zero, so that an untrained adapter is an exact identity. The places are
    drawn from the seed and kept with the adapter.

    Args:
        targets: Sites, names or keys of projections; or `all-linear`.
        r: Numbers as LoRA's of this rank, at most those of W.
    """

    layer = "kzoo.adapters.layers.structured:ShiraLayer"
    example = "r=2"

    r: PositiveInt = 32

    def choose(self, places: Sequence[Place]) -> list[Place]:
        """As for every method; there must be enough places.

        Raises:
            AdapterError: Also where there are not.
        """
        return _with_room(self, super().choose(places), "r")

    def count_at(self, place: Place) -> int:
        """R (in + out)."""
        return self.r * (place.size_in + place.size_out)


class FrequencyConfig(TargetedConfig):
    """Base of the methods that train n numbers of a transform of the update.

    Args:
        n_frequency: n, at most in * out.
        n_frequency_pattern: Other numbers for some targets: site, name or key -> n; the first that
            fits.
        location_seed: Decides which numbers (PEFT's `random_loc_seed`).
    """

    example = "n_frequency=40"
    patterns: ClassVar[Mapping[str, str]] = {"n_frequency": "n_frequency_pattern"}

    n_frequency: PositiveInt = 1000
    n_frequency_pattern: dict[str, PositiveInt] = Field(default_factory=dict)
    location_seed: NonNegativeInt = 777

    def choose(self, places: Sequence[Place]) -> list[Place]:
        """As for every method; there must be as many numbers.

        Raises:
            AdapterError: Also where there are not.
        """
        return _with_room(self, super().choose(places), "n_frequency")

    def count_at(self, place: Place) -> int:
        """N."""
        return int(self.value_at("n_frequency", place))


@register_method("fourierft")
class FourierftConfig(FrequencyConfig):
    """A sparse spectrum: W' = W + s Re(inverse 2-D Fourier transform of n trained numbers).

    FourierFT (Gao et al. 2024, arXiv:2405.03003, equations 2 to 4). The n frequencies are drawn
    from `location_seed`, the same at every target of one shape and the same as HF PEFT's, whose
    files do not have them.

    Args:
        targets: Sites, names or keys of projections; or `all-linear`.
        n_frequency: n, at most in * out.
        n_frequency_pattern: Other numbers for some targets: site, name or key -> n; the first that
            fits.
        scaling: s.
        location_seed: Decides the frequencies (PEFT's `random_loc_seed`).
        init: `zeros`, so that an untrained adapter is an exact identity, or `normal` (the paper's).
    """

    layer = "kzoo.adapters.layers.structured:FourierftLayer"

    scaling: PositiveFloat = 150.0
    init: Literal["zeros", "normal"] = "zeros"


@register_method("waveft")
class WaveftConfig(FrequencyConfig):
    """Sparse wavelet coefficients: W' = W + s (inverse 2-D wavelet transform of n numbers).

    WaveFT (Bilican et al. 2025, arXiv:2505.12532), one level of the transform, as in HF PEFT and
    with its places. Numbers start at zero, so that an untrained adapter is an exact identity.

    Args:
        targets: Sites, names or keys of projections; or `all-linear`.
        n_frequency: n, at most in * out.
        n_frequency_pattern: Other numbers for some targets: site, name or key -> n; the first that
            fits.
        scaling: s.
        wavelet: `db1` (Haar's), or Daubechies' second, `db2`, also known as `sym2`.
        transform: Whether there is one; without it, the numbers are those of the update itself.
        location_seed: Decides the places (PEFT's `random_loc_seed`).
    """

    layer = "kzoo.adapters.layers.structured:WaveftLayer"

    n_frequency: PositiveInt = 2592
    scaling: PositiveFloat = 25.0
    wavelet: Literal["db1", "db2", "sym2"] = "db1"
    transform: bool = True


def _with_room(config: TargetedConfig, chosen: list[Place], option: str) -> list[Place]:
    """The places, whose matrices must have as many numbers as are trained there."""
    for place in chosen:
        if config.count_at(place) > place.size_in * place.size_out:
            raise AdapterError(
                f"`{option}` {getattr(config, option)} of `{config.method}` makes "
                f"{config.count_at(place)} numbers at "
                f"{place.key}, whose matrix has {place.size_in} * {place.size_out}."
            )
    return chosen
