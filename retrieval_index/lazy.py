"""Packages whose names are imported when somebody asks for one, and written once."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def lazy(
    package: str, *own: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """The module functions and `__all__` of a package that imports its parts on first use.

    Its source says what it has, in a form that type checkers and editors read too:

        if TYPE_CHECKING:
            from package.part import Thing
            from package.other import thing_made_there as thing
            from package import subpackage

        __getattr__, __dir__, __all__ = lazy(__name__)

    A name must not be that of a module in the package, which takes its place when imported.

    Args:
        package: Its `__name__`.
        *own: Public names that it defines itself.

    Returns:
        `__getattr__`, `__dir__`, `__all__`.
    """
    module = sys.modules[package]
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    where = {
        alias.asname or alias.name: (str(line.module), alias.name)
        for block in tree.body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for line in block.body
        if isinstance(line, ast.ImportFrom)
        for alias in line.names
    }

    def __getattr__(name: str) -> Any:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        source, attribute = where[name]
        if source == package:
            return import_module(f"{package}.{attribute}")
        value = getattr(import_module(source), attribute)
        setattr(module, name, value)
        return value

    public = sorted({*where, *own})

    def __dir__() -> list[str]:
        return sorted({*public, *(name for name in vars(module) if name.startswith("__"))})

    return __getattr__, __dir__, public
