"""The families of backbones that kzoo knows: one file each, found by name.

A file holds all that is particular to its family and registers it; nothing else has to be edited.
`kzoo.backbones.family.Family` says what each entry means, `shared` holds what several families
have in common. None of the files imports Keras. A package outside of kzoo names its `Family` as
an entry point of the group `kzoo.families`.

Example:
    >>> FAMILIES.register("x", replace(BERT, name="x", backbone="XBackbone"))
"""

from __future__ import annotations

from typing import Any

from kzoo.backbones.family import Family
from kzoo.errors import WeightsError
from kzoo.registry import Registry

__all__ = ["FAMILIES", "Family", "family_named", "family_of", "family_of_class"]

FAMILIES: Registry[Family] = Registry(
    "families", "kzoo.backbones.families", singular="family", error=WeightsError
)


def family_named(name: str) -> Family:
    """Looks a family up by name; imports its file and no other.

    Args:
        name: HF's `model_type`.

    Returns:
        The family.

    Raises:
        WeightsError: The family is not known.
    """
    return FAMILIES.get(name)


def family_of_class(name: str) -> Family | None:
    """The family that a class of backbones belongs to; imports all of them.

    Args:
        name: Name of the class.

    Returns:
        The family, or None where no family has this class.
    """
    families = (family for _, family in FAMILIES.items())
    return next((f for f in families if name in (f.backbone, *f.also)), None)


def family_of(backbone: Any) -> Family:
    """The family of a built backbone, by its class.

    Args:
        backbone: A KerasHub backbone.

    Returns:
        The family.

    Raises:
        WeightsError: The class belongs to no family that is known.
    """
    name = type(backbone).__name__
    family = family_of_class(name)
    if family is None:
        raise WeightsError(
            f"`backbone` of class {name} is not supported. "
            f"Supported: {', '.join(family.backbone for _, family in FAMILIES.items())}."
        )
    return family
