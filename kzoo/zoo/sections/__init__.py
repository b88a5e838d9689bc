"""The sections of a recipe: a file a kind; each validates its data and builds its part.

Read without TensorFlow; what builds imports it.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

__all__ = ["HeadSection", "Section"]


class Section(BaseModel):
    """A part of a recipe: data with a `kind`, and how the part is built.

    A kind is registered in `kzoo.zoo.recipe.SECTIONS`; a package outside of kzoo adds one through
    the entry-point group `kzoo.recipe-kinds`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    section: ClassVar[str]  # trunk, adapters or training

    kind: str

    def build(self, *args: Any, **kwargs: Any) -> Any:
        """Builds the part; what it takes is said by the section."""
        raise NotImplementedError


class HeadSection(BaseModel):
    """How a model ends.

    Args:
        kind: One of `kzoo.heads.HEADS`.
        **options: The head's arguments. They are checked when it is built, by its signature, so
            that a recipe can be read without Keras.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: str

    @property
    def options(self) -> dict[str, Any]:
        """The head's arguments."""
        return dict(self.model_extra or {})
