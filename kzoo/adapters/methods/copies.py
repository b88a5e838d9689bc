"""Copies of some of the model's own numbers, trained in their place.

BitFit (Ben Zaken et al. 2022, arXiv:2106.10199); layer norms (Zhao et al. 2023, 2312.11420);
whole sublayers, HF PEFT's `modules_to_save`; rows of a table, HF PEFT's trainable tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, field_validator

from kzoo.adapters.config import AdapterConfig, register_method
from kzoo.adapters.targets import EverywhereConfig, TargetedConfig, is_embedding, is_linear, is_norm
from kzoo.backbones.places import LINEAR_SITES, NORM_SITES, Place
from kzoo.errors import AdapterError


@register_method("bitfit")
class BitfitConfig(EverywhereConfig):
    """Trains a copy of the biases, in place of the model's own.

    Biases of projections and shifts of layer norms, inside the blocks and outside of them
    (section 3). The copies start as the model's values, so that an untrained adapter is an exact
    identity. Sublayers without a bias stay as they are.

    Args:
        targets: Sites, names or keys of sublayers with a bias. Default: all of them.
    """

    layer = "kzoo.adapters.layers.copies:BitfitLayer"
    kind = "projections and norms with a bias"
    usual = (*LINEAR_SITES, *NORM_SITES)

    def suits(self, place: Place) -> bool:
        """Any projection or norm that has a bias."""
        return place.bias and (is_linear(place) or is_norm(place))

    def count_at(self, place: Place) -> int:
        """The bias."""
        return place.size_out


@register_method("beft")
class BeftConfig(TargetedConfig):
    """Adds a trained bias to chosen projections, whether they have one or not.

    BEFT (2025, arXiv:2509.15974), which picks the values' biases. It starts at zero, so that an
    untrained adapter is an exact identity.

    Args:
        targets: Sites, names or keys of projections; or `all-linear`.
    """

    layer = "kzoo.adapters.layers.copies:BeftLayer"

    targets: tuple[str, ...] = ("value",)

    def count_at(self, place: Place) -> int:
        """The bias."""
        return place.size_out


@register_method("ln")
class LnConfig(EverywhereConfig):
    """Trains a copy of the norms' scales and shifts, in place of the model's own.

    Layer norms and RMS norms, inside the blocks and outside of them. The copies start as the
    model's values, so that an untrained adapter is an exact identity.

    Args:
        targets: Sites, names or keys of norms. Default: all of them.
    """

    layer = "kzoo.adapters.layers.copies:LnLayer"
    kind = "norms"
    usual = NORM_SITES

    def suits(self, place: Place) -> bool:
        """Any norm."""
        return is_norm(place)

    def count_at(self, place: Place) -> int:
        """A scale, and a shift where the norm has one."""
        return (1 + place.bias) * place.size_out


@register_method("full")
class FullConfig(TargetedConfig):
    """Trains a copy of whole projections or embedding tables, in place of the model's own.

    The copies start as the model's values, so that an untrained adapter is an exact identity.
    Meant for a few sublayers beside another method: `lora[r=8]|full[targets=[pooler]]`.

    Args:
        targets: Sites, names or keys of projections or embeddings.
    """

    layer = "kzoo.adapters.layers.copies:FullLayer"
    embeddings = True

    def choose(self, places: Sequence[Place]) -> list[Place]:
        """As for every method.

        Raises:
            AdapterError: Also for a table that computes logits too: both ends would differ.
        """
        chosen = super().choose(places)
        for place in chosen:
            if is_embedding(place) and getattr(place.layer, "tie_weights", False):
                raise AdapterError(
                    f"`full` at {place.key}: the table is also the output layer. "
                    "Use `tokens` for some of its rows."
                )
        return chosen

    def count_at(self, place: Place) -> int:
        """in out, and the bias."""
        return (place.size_in + place.bias) * place.size_out


@register_method("tokens")
class TrainableTokensConfig(AdapterConfig):
    """Replacement rows of the embedding table for some token ids; all others stay as they are.

    The rows start as copies, so that an untrained adapter is an exact identity. Where the table is
    also the output layer of a language model (tied weights), its logits use the new rows too.

    Args:
        indices: The token ids, each once.
        targets: The embedding; in a model that is no backbone the key of one.
    """

    layer = "kzoo.adapters.layers.copies:TrainableTokensLayer"
    example = "indices=[5, 6]"

    indices: tuple[int, ...] = Field(min_length=1)
    targets: tuple[str, ...] = ("token_embedding",)

    @field_validator("indices")
    @classmethod
    def _different(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) != len(value) or min(value) < 0:
            raise ValueError("must be token ids, each once")
        return value

    @property
    def sites(self) -> tuple[str, ...]:
        """The token embedding."""
        return self.targets

    def choose(self, places: Sequence[Place]) -> list[Place]:
        """See `AdapterConfig.choose`; ids beyond the table are refused, and other sublayers."""
        chosen = super().choose(places)
        for place in chosen:
            if not is_embedding(place):
                raise AdapterError(f"`targets` must be embeddings. Received: {place.key}")
            if max(self.indices) >= place.size_in:
                raise AdapterError(
                    f"`indices` must be below the vocabulary size, {place.size_in}. "
                    f"Received: {max(self.indices)}"
                )
        return chosen

    def count_at(self, place: Place) -> int:
        """n H."""
        return len(self.indices) * place.size_out
