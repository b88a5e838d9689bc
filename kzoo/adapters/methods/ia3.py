"""IA3 (Liu et al. 2022, arXiv:2205.05638)."""

from __future__ import annotations

from pydantic import field_validator

from kzoo.adapters.config import AdapterConfig, register_method
from kzoo.adapters.targets import check_targets
from kzoo.backbones.places import Place

_HIDDEN = "ffn_output"  # what goes into it are the hidden units of the feed-forward part


@register_method("ia3")
class Ia3Config(AdapterConfig):
    """Rescales keys, values and the hidden units of the feed-forward part (section 3.3).

    A projection with its output rescaled computes l * (W x + b), one with its input rescaled
    W (l * x) + b. The vectors l start at one, so that an untrained adapter is an exact identity.

    HF PEFT's default for BERT rescales the input of `attention_output` too:
    `ia3[targets_in=[attention_output, ffn_output]]`. AdapterHub rescales the hidden units before
    the activation function and not behind it, which is another function: `pre_activation`.

    Args:
        targets_out: Projections whose output is rescaled.
        targets_in: Projections whose input is rescaled.
        pre_activation: Rescale the output of `ffn_intermediate` before its activation in place of
            the input of `ffn_output`, as AdapterHub does.
    """

    layer = "kzoo.adapters.layers.ia3:Ia3Layer"

    targets_out: tuple[str, ...] = ("key", "value")
    targets_in: tuple[str, ...] = (_HIDDEN,)
    pre_activation: bool = False

    @field_validator("targets_out", "targets_in")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return check_targets(value) if value else value

    def model_post_init(self, context: object) -> None:
        """Refuses a configuration without targets, or with one at both ends."""
        check_targets(self.sites)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Projections whose output is rescaled."""
        return (*self.targets_out, *(("ffn_intermediate",) if self.pre_activation else ()))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Projections whose input is rescaled."""
        return tuple(t for t in self.targets_in if not (self.pre_activation and t == _HIDDEN))

    @property
    def sites(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.outputs, *self.inputs)

    def rescales_input(self, place: Place) -> bool:
        """Whether the vector at this place acts on what goes in."""
        return any(place.matches(target) for target in self.inputs)

    def count_at(self, place: Place) -> int:
        """One number for each feature that goes out, or in."""
        return place.size_in if self.rescales_input(place) else place.size_out
