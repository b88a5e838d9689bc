"""What every adapter configuration has in common, the registry of methods, and config strings."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from kzoo.backbones.dims import Dims
from kzoo.backbones.places import Place, sites_of
from kzoo.errors import AdapterError, did_you_mean, explain_validation
from kzoo.registry import Registry
from kzoo.seeds import derive_seed

# The functions of `kzoo.adapters.layers.base`, by AdapterHub's names.
NonLinearity = Literal["relu", "swish", "silu", "gelu", "gelu_new", "tanh", "leakyrelu"]

_STRING = re.compile(r"^\s*(?P<method>[\w+-]+)\s*(?:\[(?P<options>.*)\])?\s*$")


class AdapterConfig(BaseModel):
    """Base of the methods' configurations: immutable, validated, JSON-ready data.

    A method says where it stands (`sites`), what it costs at one place (`count_at`) and which
    Keras layer does it (`layer`). Everything else follows from these.

    Args:
        leave_out: Block numbers that get no adapter (AdapterDrop), encoder blocks first.
        exclude: Keys of single places that get no adapter, such as `blocks.3.query`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    layer: ClassVar[str]  # where the Keras layer lives: "module:class"
    shared_layer: ClassVar[str | None] = None  # the same for what all places share
    example: ClassVar[str] = ""  # options without which a configuration is not complete
    listed: ClassVar[bool] = True  # whether tables of methods show it

    method: str
    leave_out: tuple[int, ...] = ()
    exclude: tuple[str, ...] = ()

    @field_validator("leave_out")
    @classmethod
    def _not_negative(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(index < 0 for index in value):
            raise ValueError("must be block numbers, counted from 0")
        return tuple(sorted(set(value)))

    @property
    def parts(self) -> tuple[AdapterConfig, ...]:
        """The methods that act together under one name; itself, but for unions."""
        return (self,)

    @property
    def sites(self) -> tuple[str, ...]:
        """What gets a layer: sites, names or keys of `kzoo.backbones.places.Place`."""
        raise NotImplementedError

    def sites_on(self, places: Sequence[Place]) -> tuple[str, ...]:
        """`sites`, for methods that stand elsewhere in some families."""
        return self.sites

    def count_at(self, place: Place) -> int:
        """Trainable parameters at one place."""
        raise NotImplementedError

    def count_shared(self, places: Sequence[Place]) -> int:
        """Trainable parameters that the chosen places share."""
        return 0

    def count_parameters(self, dims: Dims) -> int:
        """Trainable parameters on a trunk of these sizes, by arithmetic.

        Raises:
            AdapterError: The trunk has no such place.
        """
        places = self.choose(dims.places())
        return sum(self.count_at(place) for place in places) + self.count_shared(places)

    def choose(self, places: Sequence[Place]) -> list[Place]:
        """The places that get a layer, from the input upwards.

        Args:
            places: All places of a model, or of its sizes.

        Raises:
            AdapterError: A site that does not exist, `leave_out` names a block that the trunk
                does not have or all blocks, or nothing is left.
        """
        targets = self.sites_on(places)
        for target in targets:
            if not any(place.matches(target) for place in places):
                raise AdapterError(
                    f"`{self.method}` needs `{target}`, which this model does not have."
                    f"{did_you_mean(target, sites_of(places))}"
                )
        for key in self.exclude:
            if not any(place.key == key for place in places):
                raise AdapterError(
                    f"`exclude` names {key!r}, which this model does not have."
                    f"{did_you_mean(key, [place.key for place in places])}"
                )
        blocks = {place.block for place in places if place.block is not None}
        if self.leave_out and not (set(self.leave_out) < blocks):
            raise AdapterError(
                f"`leave_out` must leave at least one of the blocks 0 to {len(blocks) - 1}. "
                f"Received: {list(self.leave_out)}"
            )
        chosen = [
            place
            for place in places
            if any(place.matches(target) for target in targets)
            and place.block not in self.leave_out
            and place.key not in self.exclude
        ]
        if not chosen:
            raise AdapterError(f"`{self.method}` is left without any place by `exclude`.")
        return chosen

    def make_shared(self, places: Sequence[Place], name: str, seed: int) -> Any:
        """Builds the Keras layer that holds what the places share, or None (imports Keras).

        Args:
            places: The chosen places.
            name: The adapter's name.
            seed: Decides the initial values.
        """
        if self.shared_layer is None:
            return None
        return _class(self.shared_layer)(self, places, name=name, seed=seed)

    def make_layer(self, place: Place, building: Building) -> Any:
        """Builds the Keras layer for one place (imports Keras).

        Args:
            place: Where.
            building: What belongs to the whole adapter.
        """
        return _class(self.layer_at(place))(self, place, building)

    def layer_at(self, place: Place) -> str:
        """The class ("module:class") of the layer for one place."""
        return self.layer


@dataclass(frozen=True)
class Building:
    """What a layer may need to know of the adapter it belongs to, while it is built.

    Args:
        name: The adapter's name, with its part number in a union.
        seed: The model's seed.
        shared: What all places share, or None.
        made: The layers built so far, by the key of their place.
        tokenize: Text to token ids without special tokens, where the model has a tokenizer.
    """

    name: str
    seed: int
    shared: Any = None
    made: dict[str, Any] = field(default_factory=dict)
    tokenize: Callable[[str], list[int]] | None = None

    def seed_at(self, place: Place) -> int:
        """A seed for one place."""
        return derive_seed(self.seed, self.name, place.key)


def _class(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(module), name)


class Method(NamedTuple):
    """What a name of a method stands for.

    Attributes:
        config: The configuration's class.
        defaults: Options that the name sets, such as `use_dora` for `dora`.
    """

    config: type[AdapterConfig]
    defaults: Mapping[str, Any]


METHODS: Registry[Method] = Registry(
    "methods", "kzoo.adapters.methods", error=AdapterError, of=Method
)


def register_method(name: str, **defaults: Any) -> Any:
    """Class decorator: makes a configuration known under `name`, with these defaults.

    A package outside of kzoo names the module that does it as an entry point of the group
    `kzoo.methods`; the point's name is the method's.

    Example:
        >>> @register_method("mine")
        ... class MineConfig(TargetedConfig): ...
    """

    def keep(cls: type[AdapterConfig]) -> type[AdapterConfig]:
        METHODS.register(name, Method(cls, defaults))
        return cls

    return keep


def list_methods() -> dict[str, type[AdapterConfig]]:
    """Method name -> configuration class, for tables and help texts; imports all of them."""
    return {name: method.config for name, method in METHODS.items()}


def parse_adapter(spec: str | Mapping[str, Any] | Sequence[Any] | AdapterConfig) -> AdapterConfig:
    """Reads a configuration from a string, a mapping, a list, or passes one through.

    Args:
        spec: `"lora[r=8,alpha=16]"`, `{"method": "lora", "r": 8}`, or a configuration. Several
            joined with `|`, or a list of them, are a union.

    Returns:
        The validated configuration.

    Raises:
        AdapterError: Unknown method or option, or a value out of range; the key is named.
    """
    if isinstance(spec, AdapterConfig):
        return spec
    if isinstance(spec, str):
        parts = _split(spec, "|")
        if len(parts) > 1:
            return parse_adapter(parts)
        found = _STRING.match(spec)
        if not found:
            raise AdapterError(f"`adapter` must look like `lora[r=8,alpha=16]`. Received: {spec!r}")
        spec = {"method": found["method"], **_options(found["options"] or "", spec)}
    if not isinstance(spec, Mapping):
        if not isinstance(spec, (list, tuple)):
            raise AdapterError(
                "`adapter` must be a string, a mapping, a list of them or a configuration. "
                f"Received: {type(spec).__name__}"
            )
        spec = {"method": "union", "configs": tuple(spec)} if len(spec) > 1 else spec[0]
        return parse_adapter(spec)
    options = dict(spec)
    method = str(options.pop("method", ""))
    cls, defaults = METHODS.get(method)
    try:
        return cls(method=method, **{**defaults, **options})
    except ValidationError as error:
        keys = [key for key in cls.model_fields if key != "method"]
        raise AdapterError(explain_validation(error, f"adapter `{method}`", keys)) from error


def _split(text: str, at: str) -> list[str]:
    """Splits at a character that stands outside of brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        if character == at and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _options(text: str, whole: str) -> dict[str, Any]:
    options = {}
    for part in _split(text, ","):  # commas inside brackets belong to a list value
        if not part.strip():
            continue
        key, equals, value = part.partition("=")
        if not equals:
            raise AdapterError(f"`{part.strip()}` in {whole!r} must be `option=value`.")
        options[key.strip()] = yaml.safe_load(value)
    return options
