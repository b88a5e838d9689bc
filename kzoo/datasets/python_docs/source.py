"""Docstrings of the standard library's Python files, read from their syntax trees.

Nothing is imported: importing some standard modules opens a browser, prints a poem, needs a
display or starts a program, and a syntax tree has another merit: a docstring is found exactly
where it is written, so re-exported objects and inherited docstrings do not appear twice.
"""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from kzoo.datasets.errors import DatasetError
from kzoo.datasets.python_docs.chapters import chapter_of, public_name
from kzoo.datasets.python_docs.document import RawDoc

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
