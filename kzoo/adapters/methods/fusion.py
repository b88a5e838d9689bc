"""AdapterFusion (Pfeiffer et al. 2021, arXiv:2005.00247)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field, NonNegativeFloat, field_validator

from kzoo.adapters.config import AdapterConfig, register_method
from kzoo.adapters.methods.bottleneck import BottleneckConfig
from kzoo.backbones.places import Place
from kzoo.errors import AdapterError

# What adapters need in common, so that one sum can stand for what each of them adds.
_FORM = (
    "parallel",
    "original_ln_before",
    "original_ln_after",
    "residual_before_ln",
    "adapter_residual_before_ln",
)


@register_method("fusion")
class FusionConfig(AdapterConfig):
    """Attention of each token over what several bottleneck adapters add.

    With u the adapters' input and a_i = A_i(u) what they add, without their residual (section 3.2,
    and AdapterHub): p = softmax_i((Q u + b_q) . (K a_i + b_k)), and sum_i p_i V a_i takes the place
    of a single a. Its size does not depend on the number of adapters. V starts as the identity.

    It is a part of the composition `Fuse`, and no adapter of its own.

    Args:
        targets: Where the fused adapters stand: sites, names or keys of places.
        query: Whether there is Q; else u itself.
        key: Whether there is K; else a_i itself.
        value: Whether there is V; else a_i itself.
        regularization: This times the squared distance of V from the identity is added to the
            loss, summed over the places.
        dropout: Share of the scores dropped in training, before the softmax as in AdapterHub.
    """

    layer = "kzoo.adapters.layers.fusion:FusionLayer"
    listed: ClassVar[bool] = False

    targets: tuple[str, ...] = ("ffn_norm",)
    query: bool = True
    key: bool = True
    value: bool = True
    regularization: NonNegativeFloat = 0.01
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @field_validator("targets")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError("must name at least one place, each once")
        return value

    def model_post_init(self, context: object) -> None:
        """Refuses what has no variables."""
        if not (self.query or self.key or self.value):
            raise ValueError("at least one of `query`, `key` and `value` must be true")

    @classmethod
    def of(
        cls, configs: Sequence[AdapterConfig], places: Sequence[Place], **options: object
    ) -> FusionConfig:
        """A fusion of these adapters, at their places.

        Args:
            configs: Configurations of the adapters; every one a bottleneck.
            places: All places of the model.
            options: Other options of the fusion.

        Raises:
            AdapterError: An adapter adds nothing that could be weighted, or they act in different
                ways or at different places.
        """
        for config in configs:
            if not isinstance(config, BottleneckConfig):
                raise AdapterError(
                    f"`Fuse` weights what bottleneck adapters add; `{config.method}` is none."
                )
            if config.ln_after:
                raise AdapterError("`Fuse` cannot weight adapters with `ln_after`.")
        forms = {tuple(getattr(config, name) for name in _FORM) for config in configs}
        if len(forms) > 1:
            raise AdapterError(
                f"`Fuse` needs adapters with the same {', '.join(f'`{name}`' for name in _FORM)}. "
                f"Received: {', '.join(config.method for config in configs)}"
            )
        standing = [
            {p.key for p in c.choose(places) if isinstance(c, BottleneckConfig) and c.is_body(p)}
            for c in configs
        ]
        common = set.intersection(*standing)
        if apart := sorted(set.union(*standing) - common):
            raise AdapterError(
                "`Fuse` needs adapters at the same places; not all of these stand at "
                f"{', '.join(apart[:3])} ({len(apart)} in all)."
            )
        keys = tuple(place.key for place in places if place.key in common)
        return cls(method="fusion", targets=keys, **options)  # type: ignore[arg-type]

    @property
    def sites(self) -> tuple[str, ...]:
        """The targets."""
        return self.targets

    def count_at(self, place: Place) -> int:
        """H^2 + H for Q and K each, H^2 for V."""
        hidden = place.size_out
        return (self.query + self.key) * (hidden**2 + hidden) + self.value * hidden**2
