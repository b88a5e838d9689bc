"""What every adapter configuration has in common, the registry of methods, and config strings."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from typing import Any, ClassVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from kzoo.backbones.dims import Dims
from kzoo.errors import AdapterError, did_you_mean, explain_validation

# Modules that register methods when imported. A new method adds its module here and nowhere else.
_METHOD_MODULES = ("kzoo.adapters.bottleneck", "kzoo.adapters.lora")

_METHODS: dict[str, tuple[type[AdapterConfig], dict[str, Any]]] = {}

_STRING = re.compile(r"^\s*(?P<method>[\w-]+)\s*(?:\[(?P<options>.*)\])?\s*$")


class AdapterConfig(BaseModel):
    """Base of the methods' configurations: immutable, validated, JSON-ready data.

    Args:
        leave_out: Block numbers that get no adapter (AdapterDrop).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    layer: ClassVar[str]  # where the Keras layer lives: "module:class"

    method: str
    leave_out: tuple[int, ...] = ()

    @field_validator("leave_out")
    @classmethod
    def _not_negative(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(index < 0 for index in value):
            raise ValueError("must be block numbers, counted from 0")
        return tuple(sorted(set(value)))

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites in each block that get a layer; names from `kzoo.backbones.families.SITES`."""
        raise NotImplementedError

    def count_parameters(self, dims: Dims) -> int:
        """Trainable parameters on a trunk of these sizes, by arithmetic."""
        raise NotImplementedError

    def blocks(self, num_layers: int) -> list[int]:
        """Block numbers that get the adapter.

        Raises:
            AdapterError: `leave_out` names a block that the trunk does not have, or all blocks.
        """
        outside = [i for i in self.leave_out if i >= num_layers]
        if outside or len(self.leave_out) == num_layers:
            raise AdapterError(
                f"`leave_out` must leave at least one of the blocks 0 to {num_layers - 1}. "
                f"Received: {list(self.leave_out)}"
            )
        return [i for i in range(num_layers) if i not in self.leave_out]

    def make_layer(self, site: str, base: Any, name: str, seed: int) -> Any:
        """Builds the Keras layer for one site (imports Keras).

        Args:
            site: Site name.
            base: The layer that is wrapped there.
            name: The adapter's name.
            seed: Decides the initial values and the dropout of this layer.
        """
        module, _, cls = self.layer.partition(":")
        return getattr(importlib.import_module(module), cls)(self, site, base, name=name, seed=seed)


def register_method(name: str, **defaults: Any) -> Any:
    """Class decorator: makes a configuration known under `name`, with these defaults."""

    def keep(cls: type[AdapterConfig]) -> type[AdapterConfig]:
        _METHODS[name] = (cls, defaults)
        return cls

    return keep


def list_methods() -> dict[str, type[AdapterConfig]]:
    """Method name -> configuration class, for tables and help texts."""
    for module in _METHOD_MODULES:
        importlib.import_module(module)
    return {name: cls for name, (cls, _) in _METHODS.items()}


def parse_adapter(spec: str | Mapping[str, Any] | AdapterConfig) -> AdapterConfig:
    """Reads a configuration from a string, a mapping, or passes one through.

    Args:
        spec: `"lora[r=8,alpha=16]"`, `{"method": "lora", "r": 8}`, or a configuration.

    Returns:
        The validated configuration.

    Raises:
        AdapterError: Unknown method or option, or a value out of range; the key is named.
    """
    if isinstance(spec, AdapterConfig):
        return spec
    if isinstance(spec, str):
        found = _STRING.match(spec)
        if not found:
            raise AdapterError(f"`adapter` must look like `lora[r=8,alpha=16]`. Received: {spec!r}")
        spec = {"method": found["method"], **_options(found["options"] or "", spec)}
    options = dict(spec)
    method = str(options.pop("method", ""))
    known = list_methods()
    if method not in known:
        raise AdapterError(f"`method` {method!r} is not known.{did_you_mean(method, known)}")
    cls, defaults = _METHODS[method]
    try:
        return cls(method=method, **{**defaults, **options})
    except ValidationError as error:
        keys = [key for key in cls.model_fields if key != "method"]
        raise AdapterError(explain_validation(error, f"adapter `{method}`", keys)) from error


def _options(text: str, whole: str) -> dict[str, Any]:
    options = {}
    # Commas inside brackets belong to a list value.
    for part in re.split(r",(?![^\[\]]*\])", text):
        if not part.strip():
            continue
        key, equals, value = part.partition("=")
        if not equals:
            raise AdapterError(f"`{part.strip()}` in {whole!r} must be `option=value`.")
        options[key.strip()] = yaml.safe_load(value)
    return options
