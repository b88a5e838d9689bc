"""What a model has to offer to carry adapters."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from kzoo.adapters.composition import Block
from kzoo.adapters.injection import Sites


class Adaptable(Protocol):
    """What the manager needs of a model."""

    trunk_variables: list[Any]
    origin: str
    seed: int
    sites: Sites

    def strategy_scope(self) -> AbstractContextManager[Any]:
        """The scope of the `tf.distribute` strategy in which the model's variables are made."""

    def trunk_facts(self) -> dict[str, Any]:
        """Facts about the trunk beside its fingerprint, for the files of adapters."""

    def prepare_composition(self, composition: str | Block | None) -> None:
        """Called before a composition acts; raises where the model's inputs cannot serve it."""

    def adapters_changed(self) -> None:
        """Called after every change: compiled functions and the optimizer are stale."""

    def head_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Facts about the head, and its variables by name."""

    def accept_head(self, facts: dict[str, Any]) -> None:
        """Makes the head fit saved facts (classes, labels) before its values are assigned."""
