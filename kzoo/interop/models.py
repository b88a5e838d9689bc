"""What the formats of other libraries share when an adapter goes into a model, or out of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kzoo.adapters.config import AdapterConfig
from kzoo.backbones.dims import Dims
from kzoo.backbones.families import family_of
from kzoo.errors import AdapterError
from kzoo.interop.files import InteropWarning, Tensors
from kzoo.interop.layouts import Layout, layout_of

if TYPE_CHECKING:  # needs Keras
    from kzoo.adapters.host import Adaptable
    from kzoo.adapters.manager import Adapters


class Imported(NamedTuple):
    """What a file of another library says.

    Attributes:
        config: The configuration.
        tensors: Key in kzoo's files -> array.
        facts: What else the file says, as its reader documents; `keys`: our key -> key in the file.
    """

    config: AdapterConfig
    tensors: Tensors
    facts: dict[str, Any]


def layout_of_model(model: Adaptable) -> Layout:
    """The torch modules that the places of a model are in HF's model of the same family."""
    if model.backbone is None:
        return layout_of(model.sites.places, None)
    family = family_of(model.backbone).name
    return layout_of(model.sites.places, family, Dims.of(model.backbone))


def name_for(text: str) -> str:
    """What a file or folder is called, as a name that an adapter may have."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in text)


def arrays_of(variables: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Keras variables as arrays."""
    return {key: np.asarray(variable) for key, variable in variables.items()}


def add_imported(
    adapters: Adapters,
    found: Imported,
    name: str,
    where: str,
    activate: bool,
    head: Mapping[str, Any] | None = None,
    needed: Callable[[str], bool] = lambda key: True,
) -> str:
    """Adds what was read from a file to a model, which is unchanged if that fails.

    Args:
        adapters: The model's manager.
        found: What was read.
        name: Name to give it.
        where: The file, for messages.
        activate: Make it the only active adapter.
        head: A classification head: `kernel` (width, classes), `bias`, `pooling` and `labels`.
        needed: Whether the file has to have a variable.

    Returns:
        The adapter's name.

    Raises:
        AdapterError: The name is taken, or the tensors do not fit the model.
    """
    adapters.add(name, found.config, activate=False)
    try:
        variables = adapters.variables(name)
        _check(found, variables, where, needed)
        if head is not None:
            _take_head(adapters.host, head, where, name)
        for key, value in found.tensors.items():
            variables[key].assign(value)
    except BaseException:
        adapters.delete(name)
        raise
    if activate:
        adapters.activate(name)
    return name


def class_head(model: Adaptable) -> Any:
    """The one classification head beside a trunk, if its classes are known."""
    heads = [head for head in model.heads() if head.has_variables]
    known = len(heads) == 1 and heads[0].kind == "classify" and not heads[0].is_open
    if known and heads[0].hidden:
        warnings.warn(
            "The classification head is not written: it has a hidden layer.",
            InteropWarning,
            stacklevel=6,
        )
        return None
    return heads[0] if known else None


def has_place_for_head(model: Adaptable) -> bool:
    """Whether a classification head of a file would have a place beside a trunk."""
    heads = [head for head in model.heads() if head.has_variables]
    return len(heads) == 1 and heads[0].kind == "classify"


def _check(
    found: Imported, variables: Mapping[str, Any], where: str, needed: Callable[[str], bool]
) -> None:
    """Names and shapes, said as the file says them, before anything is assigned.

    Raises:
        AdapterError: Names the first missing, unexpected and mis-shaped keys.
    """
    keys = found.facts["keys"]
    problems = []
    if missing := [key for key in variables if key not in found.tensors and needed(key)]:
        problems.append(f"nothing for {missing[:3]} ({len(missing)} in all)")
    if unexpected := [keys.get(key, key) for key in found.tensors if key not in variables]:
        problems.append(f"unexpected {unexpected[:3]} ({len(unexpected)} in all)")
    for key, value in found.tensors.items():
        if key in variables and value.shape != tuple(variables[key].shape):
            problems.append(
                f"`{keys.get(key, key)}` does not have the model's sizes: {key} would be "
                f"{value.shape} instead of {tuple(variables[key].shape)}"
            )
            break
    if problems:
        raise AdapterError(f"{where!r} does not fit: " + "; ".join(problems))


def _take_head(model: Adaptable, head: Mapping[str, Any], where: str, name: str) -> None:
    width, classes = head["kernel"].shape
    dims = layout_of_model(model).dims
    if dims is not None and width != dims.hidden_dim:
        raise AdapterError(
            f"{where!r} does not fit: the head is {width} wide, this model's {dims.hidden_dim}."
        )
    facts = {"pooling": head["pooling"], "num_classes": classes, "labels": head["labels"]}
    model.accept_head(facts, name)
    _, variables = model.head_state(name)
    for key, variable in variables.items():
        if tuple(variable.shape) != head[key].shape:
            raise AdapterError(
                f"{where!r} does not fit: the head's {key} has shape {head[key].shape} instead of "
                f"{tuple(variable.shape)}"
            )
    for key, variable in variables.items():
        variable.assign(head[key])
