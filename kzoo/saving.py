"""Lets `keras.models.load_model` find kzoo's classes after `import kzoo`, which imports no Keras.

Keras looks registered classes up by name. Where Keras is imported, now or later, a stand-in for
each of kzoo's names goes there; it imports its class when a file asks for it.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import wrapt

_REGISTERED = re.compile(
    r"^@keras\.saving\.register_keras_serializable\(package=\"kzoo\"\)\nclass (\w+)", re.MULTILINE
)
_OTHER = {"Adapted": "kzoo.adapters.adapted"}  # registered once for every class that is adapted


class _StandIn:
    """In the place of a class that is not imported yet."""

    def __init__(self, name: str, module: str) -> None:
        self.name = name
        self.module = module

    def from_config(self, config: Mapping[str, Any], custom_objects: Any = None) -> Any:
        """What the class makes of it."""
        cls = getattr(importlib.import_module(self.module), self.name)
        return cls.from_config(config)


def install() -> None:
    """Puts the stand-ins in place as soon as Keras is imported."""
    wrapt.register_post_import_hook(_put_stand_ins, "keras")


def serializable() -> dict[str, str]:
    """Name of each registered class of kzoo -> its module, read from the source."""
    root = Path(__file__).parent
    found = dict(_OTHER)
    for path in root.rglob("*.py"):
        for name in _REGISTERED.findall(path.read_text(encoding="utf-8")):
            module = path.relative_to(root.parent).with_suffix("").parts
            found[name] = ".".join(module)
    return found


def _put_stand_ins(keras: Any) -> None:
    known = keras.utils.get_custom_objects()
    for name, module in serializable().items():
        known.setdefault(f"kzoo>{name}", _StandIn(name, module))


def import_plugins(config: Any) -> None:
    """Imports the packages that a model's config needs, if they are declared as kzoo's plug-ins.

    Args:
        config: What `get_config` gave; its `module` entries are looked at.
    """
    points = entry_points()
    groups = [group for group in points.groups if group.startswith("kzoo.")]
    declared = {p.module.partition(".")[0] for group in groups for p in points.select(group=group)}
    for module in sorted(_modules(config)):
        if module.partition(".")[0] in declared:
            importlib.import_module(module)


def _modules(config: Any) -> set[str]:
    if isinstance(config, Mapping):
        own = config.get("module")
        found = {own} if isinstance(own, str) else set()
        return found.union(*(_modules(value) for value in config.values()))
    if isinstance(config, (list, tuple)):
        return set().union(*(_modules(value) for value in config))
    return set()
