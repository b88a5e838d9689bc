"""What a model has to offer to carry adapters."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from kzoo.adapters.composition import Block
from kzoo.adapters.injection import Sites


class Adaptable(Protocol):
    """What the manager needs of a model."""

    @property
    def trunk_variables(self) -> list[Any]:
        """The trunk's own variables."""

    @property
    def origin(self) -> str:
        """Where its weights came from."""

    @property
    def seed(self) -> int:
        """Decides initial values."""

    @property
    def sites(self) -> Sites:
        """Its adapted sublayers."""

    @property
    def trainable(self) -> bool:
        """False where its owner has switched all training off."""

    def strategy_scope(self) -> AbstractContextManager[Any]:
        """The scope of the `tf.distribute` strategy in which the model's variables are made."""

    def trunk_facts(self) -> dict[str, Any]:
        """Facts about the trunk beside its fingerprint, for the files of adapters."""

    def prepare_composition(self, composition: str | Block | None) -> None:
        """Called before a composition acts; raises where the model's inputs cannot serve it."""

    def adapters_changed(self) -> None:
        """Called after every change: compiled functions and the optimizer are stale."""

    def heads(self) -> list[Any]:
        """The heads that follow the adapters; see `kzoo.heads.Head`."""

    def forget(self, name: str) -> None:
        """Called after an adapter was deleted."""

    def head_state(self, name: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Facts about what the heads have for an adapter (None: without any), and its variables."""

    def accept_head(self, facts: Mapping[str, Any], name: str | None) -> None:
        """Makes the heads fit saved facts (classes, labels) before their values are assigned."""
