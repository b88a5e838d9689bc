"""Defaults of `fit`."""

from __future__ import annotations

from typing import ClassVar, Literal

from kzoo.training.settings import Training
from kzoo.zoo.recipe import SECTIONS
from kzoo.zoo.sections import Section


@SECTIONS.register("fit")
class Fit(Training, Section):
    """Adam with warm-up and decay; see `kzoo.training.settings.Training`."""

    section: ClassVar[str] = "training"

    kind: Literal["fit"] = "fit"

    def build(self) -> Training:
        """The settings."""
        return Training(**self.model_dump(exclude={"kind"}))
