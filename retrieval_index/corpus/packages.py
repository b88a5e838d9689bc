"""Packages that only some corpora need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from retrieval_index.errors import CorpusError

# Import name -> what to install.
EXTRA = 'pip install "kzoo[documents]"'
DISTRIBUTIONS = {
    "pypdf": "pypdf",
    "pyarrow": "pyarrow",
    "pyarrow.parquet": "pyarrow",
    "zstandard": "zstandard",
}


def needed(module: str, path: object) -> Any:
    """Returns a module that is imported when the first file asks for it.

    Args:
        module: Import name, a key of `DISTRIBUTIONS`.
        path: The file, for the message.

    Raises:
        CorpusError: If the package is not installed; names the command.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise CorpusError(
            f"`corpus` {path} can only be read with the package {DISTRIBUTIONS[module]}, which "
            f"cannot be imported ({error}). Install it: {EXTRA}"
        ) from error
