"""A trunk from a name, folder or handle."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import PositiveInt

from kzoo.errors import RecipeError
from kzoo.zoo.recipe import SECTIONS
from kzoo.zoo.sections import Section


@SECTIONS.register("pretrained")
class PretrainedTrunk(Section):
    """The arguments of `kzoo.Trunk`.

    Args:
        source: Name of a backbone file, a directory, or a `hf://`, `kaggle://` or KerasHub preset
            handle.
        layers: Transformer blocks to keep, rising; null keeps all.
        frozen: Whether its own weights are fixed.
        max_tokens: Longest input; null takes the backbone's.
    """

    section: ClassVar[str] = "trunk"

    kind: Literal["pretrained"] = "pretrained"
    source: str
    layers: list[int] | None = None
    frozen: bool = True
    max_tokens: PositiveInt | None = None

    def build(self, seed: int) -> Any:
        """The `kzoo.Trunk`."""
        from kzoo.errors import WeightsError
        from kzoo.trunk.layer import Trunk

        try:
            return Trunk(
                self.source,
                max_tokens=self.max_tokens,
                layers=self.layers,
                frozen=self.frozen,
                seed=seed,
                name="trunk",
            )
        except WeightsError as error:
            if "`max_tokens`" in str(error):
                raise RecipeError(str(error)) from error
            raise
