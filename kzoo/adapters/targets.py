"""What the methods that change the weights of chosen sublayers have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from kzoo.adapters.config import AdapterConfig
from kzoo.backbones.places import LINEAR_SITES, NORM_SITES, Place
from kzoo.errors import AdapterError, did_you_mean

ALL_LINEAR = "all-linear"

Rate = Annotated[float, Field(ge=0, lt=1)]


def is_linear(place: Place) -> bool:
    """Whether the sublayer is a projection."""
    return place.site in LINEAR_SITES or (hasattr(place.layer, "kernel") and place.size_out > 0)


def is_embedding(place: Place) -> bool:
    """Whether the sublayer maps token ids to rows of a table."""
    return place.site == "token_embedding" or hasattr(place.layer, "embeddings")


def is_norm(place: Place) -> bool:
    """Whether the sublayer is a layer norm or an RMS norm."""
    kind = type(place.layer).__name__
    return place.site in NORM_SITES or kind.endswith(("Norm", "Normalization"))


def check_targets(value: tuple[str, ...]) -> tuple[str, ...]:
    """Refuses an empty or repeated list of targets."""
    if not value or len(set(value)) != len(value):
        raise ValueError("must name at least one projection, each once")
    return value


class TargetedConfig(AdapterConfig):
    """Base of the methods that change chosen projections.

    Args:
        targets: Sites, names or keys of projections; `all-linear` for every projection that the
            model has, the pooler included and the embeddings not, as HF PEFT counts them.
    """

    embeddings: ClassVar[bool] = False  # whether an embedding can be a target
    # An option -> the option with its values at single places: site, name or key -> value.
    patterns: ClassVar[Mapping[str, str]] = {}

    targets: tuple[str, ...] = ("query", "value")

    @field_validator("targets", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("targets")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return check_targets(value)

    @property
    def sites(self) -> tuple[str, ...]:
        """The targets."""
        return self.targets

    def sites_on(self, places: Sequence[Place]) -> tuple[str, ...]:
        """The targets, with `all-linear` spelled out."""
        if ALL_LINEAR not in self.targets:
            return self.targets
        named = tuple(target for target in self.targets if target != ALL_LINEAR)
        return (*named, *(place.key for place in places if is_linear(place)))

    def choose(self, places: Sequence[Place]) -> list[Place]:
        """As for every method; what is chosen must be a projection.

        Raises:
            AdapterError: Also where a target is none.
        """
        chosen = super().choose(places)
        for place in chosen:
            if not is_linear(place) and not (self.embeddings and is_embedding(place)):
                raise AdapterError(
                    f"`targets` of `{self.method}` must be projections"
                    f"{' or embeddings' if self.embeddings else ''}. Received: {place.key}"
                )
        for option in self.patterns.values():
            for target in getattr(self, option):
                if not any(place.matches(target) for place in chosen):
                    raise AdapterError(
                        f"`{option}` names {target!r}, which gets no layer."
                        f"{did_you_mean(target, {place.name for place in chosen})}"
                    )
        return chosen

    def value_at(self, option: str, place: Place) -> Any:
        """An option at one place: of the first entry of its pattern that fits."""
        pattern = getattr(self, self.patterns[option])
        usual = getattr(self, option)
        return next((value for key, value in pattern.items() if place.matches(key)), usual)

    def check_divides(self, option: str, value: int, *sizes: int) -> None:
        """Refuses a block size that does not divide the sides of a matrix.

        Raises:
            AdapterError: It leaves a rest.
        """
        if any(size % value for size in sizes):
            shape = " and ".join(str(size) for size in sizes)
            raise AdapterError(
                f"`{option}` of `{self.method}` must divide {shape}. Received: {value}"
            )


class LowRankConfig(TargetedConfig):
    """Base of the methods whose update is made of factors of rank r and scaled by alpha / r.

    Args:
        r: Rank.
        alpha: The update is scaled by alpha / r. Default 8, PEFT's.
        rank_pattern: Other ranks for some targets: site, name or key -> r; the first that fits.
        alpha_pattern: The same for alpha.
    """

    patterns: ClassVar[Mapping[str, str]] = {"r": "rank_pattern", "alpha": "alpha_pattern"}

    r: PositiveInt = 8
    alpha: PositiveFloat = 8.0
    rank_pattern: dict[str, PositiveInt] = Field(default_factory=dict)
    alpha_pattern: dict[str, PositiveFloat] = Field(default_factory=dict)

    def rank_at(self, place: Place) -> int:
        """The rank at one place."""
        return int(self.value_at("r", place))

    def alpha_at(self, place: Place) -> float:
        """Alpha at one place."""
        return float(self.value_at("alpha", place))

    def scaling_of(self, alpha: float, r: int) -> float:
        """What the update is multiplied by."""
        return alpha / r

    def scaling_at(self, place: Place) -> float:
        """What the update at one place is multiplied by."""
        return self.scaling_of(self.alpha_at(place), self.rank_at(place))

    @property
    def scaling(self) -> float:
        """What the update is multiplied by where no pattern fits."""
        return self.scaling_of(self.alpha, self.r)


class EverywhereConfig(AdapterConfig):
    """Base of the methods that stand at every sublayer of a kind, if nothing else is said.

    Args:
        targets: Sites, names or keys; default: every sublayer that the method suits.
    """

    kind: ClassVar[str]  # what the targets must be, for messages
    usual: ClassVar[tuple[str, ...]]  # sites of that kind

    targets: tuple[str, ...] | None = None

    @field_validator("targets", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("targets")
    @classmethod
    def _some(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return value if value is None else check_targets(value)

    @property
    def sites(self) -> tuple[str, ...]:
        """The targets, or all sites that may have a sublayer of the kind."""
        return self.usual if self.targets is None else self.targets

    def suits(self, place: Place) -> bool:
        """Whether the sublayer is of the kind."""
        raise NotImplementedError

    def sites_on(self, places: Sequence[Place]) -> tuple[str, ...]:
        """The targets, or every place that the method suits.

        Raises:
            AdapterError: There is none.
        """
        if self.targets is not None:
            return self.targets
        suited = tuple(place.key for place in places if self.suits(place))
        if not suited:
            raise AdapterError(f"`{self.method}` needs {self.kind}; this model has none.")
        return suited

    def choose(self, places: Sequence[Place]) -> list[Place]:
        """As for every method; what is chosen must be of the kind.

        Raises:
            AdapterError: Also where a target is not.
        """
        chosen = super().choose(places)
        for place in chosen:
            if not self.suits(place):
                raise AdapterError(
                    f"`targets` of `{self.method}` must be {self.kind}. Received: {place.key}"
                )
        return chosen
