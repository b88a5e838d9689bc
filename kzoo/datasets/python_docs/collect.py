"""The docstrings that are kept, from source files and compiled modules, and the count of others."""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import sysconfig
import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from kzoo.datasets.card import Skipped
from kzoo.datasets.python_docs.chapters import COMPILED, chapter_of, public_name
from kzoo.errors import DatasetError


@dataclass(frozen=True)
class RawDoc:
    """A docstring.

    Args:
        name: qualified name, such as ``"pathlib.Path.open"``.
        module: public module, such as ``"pathlib"``.
        kind: ``"module"``, ``"class"`` or ``"function"`` (methods and properties included).
        text: the docstring, indentation removed.
    """

    name: str
    module: str
    kind: str
    text: str

    @property
    def key(self) -> str:
        """What two copies of one text have in common: letters and digits, not layout or case."""
        return "".join(ch for ch in self.text.lower() if ch.isalnum())

    @property
    def split(self) -> str:
        """``train`` (70 %), ``validation`` (10 %) or ``test`` (20 %), by a hash of the name."""
        place = int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:8], "big") % 100
        return "test" if place < 20 else "validation" if place < 30 else "train"


# Shorter ones ("Return the name.") tell a reader nothing.
MIN_CHARACTERS = 30


@dataclass(frozen=True)
class Collection:
    """The documents of this interpreter.

    Args:
        docs: documents in the order of their names, names and texts unique.
        skipped: what was left out, by reason.
        absent: compiled modules this interpreter does not have.
    """

    docs: tuple[RawDoc, ...]
    skipped: tuple[Skipped, ...]
    absent: tuple[str, ...]


@lru_cache(maxsize=1)
def collect() -> Collection:
    """Read the standard library once a process (about two seconds).

    Returns:
        The documents.

    Raises:
        DatasetError: if this interpreter has no source files.
    """
    compiled, absent = compiled_docs()
    by_name: dict[str, RawDoc] = {}
    same_name = short = 0
    # Compiled first: it is what the interpreter runs when there is a Python twin.
    for doc in [*compiled, *source_docs()]:
        if len(doc.text) < MIN_CHARACTERS:
            short += 1
        elif doc.name in by_name:
            same_name += 1
        else:
            by_name[doc.name] = doc
    by_text: dict[str, list[RawDoc]] = {}
    for name in sorted(by_name):
        by_text.setdefault(by_name[name].key, []).append(by_name[name])
    kept = []
    copies = ambiguous = 0
    for docs in by_text.values():
        # A text that stands in two chapters has no right answer.
        if len({chapter_of(doc.module) for doc in docs}) > 1:
            ambiguous += len(docs)
        else:
            kept.append(docs[0])
            copies += len(docs) - 1
    skipped = (
        Skipped(f"shorter than {MIN_CHARACTERS} characters", short),
        Skipped("same qualified name as another docstring", same_name),
        Skipped("copy of another docstring of its chapter", copies),
        Skipped("the same text in two chapters", ambiguous),
    )
    return Collection(tuple(sorted(kept, key=lambda doc: doc.name)), skipped, tuple(absent))


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


# Docstrings of the standard library's Python files, read from their syntax trees.
#
# Nothing is imported: importing some standard modules opens a browser, prints a poem, needs a
# display or starts a program, and a syntax tree has another merit: a docstring is found exactly
# where it is written, so re-exported objects and inherited docstrings do not appear twice.

_NOT_LIBRARY = {"site-packages", "test", "tests", "__pycache__", "idlelib", "lib2to3", "turtledemo"}


def source_docs() -> Iterator[RawDoc]:
    """Every docstring of every public standard module that has a chapter.

    Yields:
        Documents in the order of file names and lines, too short ones included.

    Raises:
        DatasetError: if this interpreter was installed without its source files.
    """
    root = Path(sysconfig.get_path("stdlib"))
    files = list(_files(root))
    if not files:
        raise DatasetError(
            f"no standard-library source files under {str(root)!r}: 'python-docs' needs an "
            "interpreter that is installed with its .py files"
        )
    for module, path in files:
        yield from _walk(ast.parse(path.read_bytes()), module, module)


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if _NOT_LIBRARY.intersection(parts) or parts[-1] == "__main__":
            continue
        if parts[-1] == "__init__":
            parts = parts[:-1]
        module = public_name(".".join(parts))
        if module and chapter_of(module):
            yield module, path


def _walk(node: ast.AST, name: str, module: str) -> Iterator[RawDoc]:
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        text = ast.get_docstring(node)
        kinds = {ast.Module: "module", ast.ClassDef: "class"}
        if text:
            yield RawDoc(name, module, kinds.get(type(node), "function"), text)
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return  # a nested function is nobody's interface
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if _is_public(child.name):
                yield from _walk(child, f"{name}.{child.name}", module)
        elif isinstance(child, (ast.If, ast.Try, ast.With)):
            # Definitions that depend on the platform stand below `if` and `try`.
            yield from _walk(child, name, module)


def _is_public(name: str) -> bool:
    return not name.startswith("_") or (name.startswith("__") and name.endswith("__"))
