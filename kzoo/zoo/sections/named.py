"""Adapters by name, and how they act together."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import field_validator, model_validator

from kzoo.adapters.acting.composition import Block, Fuse, parse_composition
from kzoo.adapters.config import parse_adapter
from kzoo.errors import AdapterError
from kzoo.zoo.recipe import SECTIONS
from kzoo.zoo.sections import Section


@SECTIONS.register("named")
class NamedAdapters(Section):
    """Fresh adapters of a trunk.

    Args:
        add: Name -> adapter, such as `pfeiffer[reduction_factor=16]`.
        composition: How several act together, such as `{type: Fuse, children: [a, b]}`; a single
            one acts alone.
    """

    section: ClassVar[str] = "adapters"

    kind: Literal["named"] = "named"
    add: dict[str, str | dict[str, Any]]
    composition: str | dict[str, Any] | None = None

    @field_validator("add")
    @classmethod
    def _parses(cls, value: dict[str, Any]) -> dict[str, Any]:
        for spec in value.values():
            try:
                parse_adapter(spec)
            except AdapterError as error:
                raise ValueError(str(error)) from error
        return value

    @model_validator(mode="after")
    def _acting(self) -> Self:
        """What a composition names has to be there."""
        if self.composition is None:
            if len(self.add) != 1:
                raise ValueError("several adapters need a `composition`")
            return self
        try:
            block = parse_composition(self.composition)
        except AdapterError as error:
            raise ValueError(str(error)) from error
        if isinstance(block, Block):
            named = set(block.names()) - ({block.fusion} if isinstance(block, Fuse) else set())
            if named != set(self.add):
                raise ValueError(f"`composition` names {sorted(named)}, `add` others")
        return self

    def build(self, trunk: Any) -> None:
        """Adds them to a trunk and lets them act."""
        if self.composition is None:
            ((name, spec),) = self.add.items()
            trunk.adapters.add(name, spec)
            return
        for name, spec in self.add.items():
            trunk.adapters.add(name, spec, activate=False)
        block = parse_composition(self.composition)
        if isinstance(block, Fuse):
            trunk.adapters.add_fusion(*block.children, name=block.fusion)
        trunk.adapters.activate(block)
