"""The arguments of a host's method by name, whichever way they were passed."""

from __future__ import annotations

import inspect
from typing import Any

from kzoo.backbones.places import Place


def bind(place: Place, call: tuple[Any, Any]) -> inspect.BoundArguments:
    """Binds `(args, kwargs)` to the parameters of the method that the place names.

    Returns:
        The arguments with defaults filled in; `arguments` may be changed, and `(args, kwargs)`
        call the method.
    """
    signature = inspect.signature(getattr(type(place.layer), place.method))
    _, *parameters = signature.parameters.values()  # without self
    bound = signature.replace(parameters=parameters).bind(*call[0], **call[1])
    bound.apply_defaults()
    return bound


def first_of(arguments: dict[str, Any], *names: str) -> str:
    """The first of some names that the method has as a parameter."""
    return next(name for name in names if name in arguments)
