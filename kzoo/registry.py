"""One way to find things by name: those in a folder of kzoo, and those of other packages.

Nothing is imported before it is asked for, and a name is written once, where the thing is made:
the folder's files are read as text to see which names they register.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, overload

from kzoo.errors import KzooError, did_you_mean

_T = TypeVar("_T")
#: Where the registries are, as "module:attribute"; `kzoo list --plugins` shows them in this order.
#: An attribute has `kind`, `names()` and `origin(name)`, as `Registry` has.
REGISTRIES = [
    "kzoo.adapters.config:METHODS",
    "kzoo.adapters.formats:FORMATS",
    "kzoo.backbones.families:FAMILIES",
    "kzoo.reads:READS",
    "kzoo.heads:HEADS",
    "kzoo.fusion:FUSIONS",
    "kzoo.distillation:LOSSES",
    "kzoo.zoo.recipe:SECTIONS",
    "kzoo.retrieval.readers:READERS",
]

_NAMES = re.compile(r"""^\s*@?[\w.]*register\w*\(\s*["']([\w+-]+)["']""", re.MULTILINE)


class Registry(Generic[_T]):
    """Named things of one kind.

    A file of `package` registers what it makes: `@METHODS.register("lora")` above a class, or
    `FAMILIES.register("bert", Family(...))`; for a folder in it, its `__init__.py` does. A package
    outside of kzoo does the same in a module that its metadata name as an entry point of the group
    `kzoo.<kind>`; the point's name is the thing's name.

    Args:
        kind: What the things are, in the plural, such as `methods`.
        package: The folder with kzoo's own, such as `kzoo.adapters.methods`.
        singular: One of them, for messages. Default: `kind` without its last letter.
        error: Raised for a name that is not known.
        of: Class of the things; what other packages bring is checked.
    """

    def __init__(
        self,
        kind: str,
        package: str,
        singular: str | None = None,
        error: type[KzooError] = KzooError,
        of: type[_T] | None = None,
    ) -> None:
        self.kind = kind
        self.package = package
        self.singular = singular or kind[:-1]
        self.error = error
        self.of = of
        self._made: dict[str, _T] = {}
        self._files: dict[str, str] | None = None

    @overload
    def register(self, name: str) -> Callable[[_T], _T]: ...

    @overload
    def register(self, name: str, thing: _T) -> _T: ...

    def register(self, name: str, thing: _T | None = None) -> Any:
        """Makes a thing known; without `thing` a decorator that does."""
        if thing is None:
            return lambda made: self.register(name, made)
        self._made[name] = thing
        return thing

    def names(self) -> list[str]:
        """All names, sorted; imports none of the things."""
        return sorted({*self._made, *self._own(), *self._points()})

    def __contains__(self, name: object) -> bool:
        return name in self._made or name in self._own() or name in self._points()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def get(self, name: str) -> _T:
        """The thing of this name; imports its module and no other.

        Raises:
            KzooError: Not known (the nearest name is suggested), or a package of somebody else's
                that cannot be imported or brings something else.
        """
        if name not in self._made:
            if module := self._own().get(name):
                importlib.import_module(module)
            elif point := self._points().get(name):
                thing = self._load(point)
                if name not in self._made:
                    self._made[name] = self._checked(thing, point)
        if name not in self._made:
            raise self.error(
                f"`{self.singular}` {name!r} is not known.{did_you_mean(name, self.names())}"
            )
        return self._made[name]

    def items(self) -> Iterator[tuple[str, _T]]:
        """All names with their things; imports every one."""
        return ((name, self.get(name)) for name in self.names())

    def origin(self, name: str) -> str:
        """The package that a thing comes from: `kzoo`, or the one that adds it."""
        point = None if name in self._own() else self._points().get(name)
        if point is None:
            return "kzoo"
        return point.dist.name if point.dist is not None else point.module

    def _own(self) -> dict[str, str]:
        """Name -> module of kzoo's own things."""
        if self._files is None:
            spec = find_spec(self.package)
            folders = list(spec.submodule_search_locations or ()) if spec else []
            self._files = {
                name: f"{self.package}.{module.name}"
                for module in pkgutil.iter_modules(folders)
                for folder in folders
                for file in (f"{module.name}.py", f"{module.name}/__init__.py")
                if (path := Path(folder) / file).is_file()
                for name in _NAMES.findall(path.read_text(encoding="utf-8"))
            }
        return self._files

    def _points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=f"kzoo.{self.kind}")}

    def _checked(self, thing: Any, point: EntryPoint) -> Any:
        if self.of is not None and not isinstance(thing, self.of):
            raise self.error(
                f"`{self.singular}` {point.name!r} of {point.value} must be of the class "
                f"{self.of.__name__}, or register one. Received: {type(thing).__name__}"
            )
        return thing

    def _load(self, point: EntryPoint) -> Any:
        try:
            return point.load()
        except Exception as error:  # whatever somebody else's module raises
            raise self.error(
                f"`{self.singular}` {point.name!r} of {point.value} cannot be loaded "
                f"({type(error).__name__}: {error}). Update or remove that package."
            ) from error


class Listed(Protocol):
    """What `registries` gives."""

    @property
    def kind(self) -> str:
        """What the things are, in the plural."""

    def names(self) -> list[str]:
        """All names."""

    def origin(self, name: str) -> str:
        """The package that a thing comes from."""


def registries() -> Iterator[Listed]:
    """All registries; imports the modules that hold them and none of the things."""
    for where in REGISTRIES:
        module, _, attribute = where.partition(":")
        yield getattr(importlib.import_module(module), attribute)
