"""A trunk as its heads see it: each adapter has a part in them, which goes with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakSet

from kzoo.errors import AdapterError


class FollowedByHeads:
    """What a trunk does for the heads that follow its adapters; see `kzoo.heads.Head`."""

    _heads: WeakSet[Any]

    # A method: Keras writes what a layer's properties hold into files.
    def heads(self) -> list[Any]:
        """The heads that answer with a part of their own for each adapter, by name."""
        return sorted(self._heads, key=lambda head: str(head.name))

    def add_head(self, head: Any) -> None:
        """Lets a head follow the adapters; see `kzoo.heads.Head`."""
        self._heads.add(head)

    def forget(self, name: str) -> None:
        """An adapter was deleted: its parts of the heads go with it."""
        for head in self.heads():
            head.forget(name)

    def head_state(self, name: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Facts and variables of what the heads have for an adapter.

        One head's stand as they are; those of several have their names in front.
        """
        states: dict[str, tuple[dict[str, Any], dict[str, Any]]]
        states = {head.name: head.state(name) for head in self.heads() if head.has_variables}
        if len(states) == 1:
            return next(iter(states.values()))
        facts = {head: own for head, (own, _) in states.items() if own}
        variables = {
            f"{head}.{key}": variable
            for head, (_, own) in states.items()
            for key, variable in own.items()
        }
        return ({"heads": facts} if facts else {}), variables

    def accept_head(self, facts: Mapping[str, Any], name: str | None) -> None:
        """Makes the heads fit facts that `head_state` of another trunk returned.

        Raises:
            AdapterError: Other heads, or facts that do not fit them.
        """
        if not facts:
            return
        heads = {head.name: head for head in self.heads() if head.has_variables}
        if "heads" not in facts and len(heads) == 1:
            next(iter(heads.values())).accept(facts, name)
            return
        saved = dict(facts.get("heads", {}))
        if set(saved) != set(heads):
            raise AdapterError(
                f"The file has the heads {sorted(saved) or 'of one head'}, this model "
                f"{sorted(heads)}. Load with `with_head=False`."
            )
        for head, own in saved.items():
            heads[head].accept(own, name)
