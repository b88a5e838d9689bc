"""Docstrings of compiled standard modules, by inspection of a fixed list of them."""

from __future__ import annotations

import importlib
import inspect
import types
from collections.abc import Iterator

from kzoo.datasets.python_docs.chapters import COMPILED
from kzoo.datasets.python_docs.document import RawDoc

# Not slot wrappers: `__add__` and its like carry the same sentence in every class.
_MEMBERS = (
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    classmethod,
    staticmethod,
)


def compiled_docs() -> tuple[list[RawDoc], list[str]]:
    """Docstrings of the compiled modules of this interpreter.

    Returns:
        The documents, in the order of `COMPILED` and of definition, and the modules of the list
        that this interpreter does not have (they depend on the platform and on how it was built).
    """
    docs: list[RawDoc] = []
    absent = []
    for name, public in COMPILED.items():
        try:
            module = importlib.import_module(name)
        except ImportError:
            absent.append(name)
            continue
        docs.extend(_module_docs(module, public))
    return docs, absent


def _module_docs(module: types.ModuleType, public: str) -> Iterator[RawDoc]:
    # A Python module of the same name carries the better text about the module as a whole.
    if module.__name__ == public and module.__doc__:
        yield RawDoc(public, public, "module", inspect.cleandoc(module.__doc__))
    homes = {module.__name__, public, public.partition(".")[0]}
    for name, value in vars(module).items():
        if name.startswith("_"):
            continue
        if isinstance(value, type):
            if value.__module__ in homes and value.__name__ == name:
                yield from _class_docs(value, f"{public}.{name}", public)
        elif isinstance(value, types.BuiltinFunctionType) and value.__module__ in homes:
            yield from _one(value.__doc__, f"{public}.{name}", public, "function")


def _class_docs(cls: type, qualified: str, public: str) -> Iterator[RawDoc]:
    yield from _one(cls.__dict__.get("__doc__"), qualified, public, "class")
    for name, value in vars(cls).items():
        if isinstance(value, _MEMBERS) and not name.startswith("_"):
            yield from _one(value.__doc__, f"{qualified}.{name}", public, "function")


def _one(text: object, name: str, module: str, kind: str) -> Iterator[RawDoc]:
    if isinstance(text, str) and text.strip():
        yield RawDoc(name, module, kind, inspect.cleandoc(text))
