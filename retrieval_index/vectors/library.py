"""The FAISS library."""

from __future__ import annotations

from functools import cache
from typing import Any

from retrieval_index.errors import RetrievalIndexError

OLDEST = (1, 15)  # reads damaged files without crashing, and keeps Pareto points undominated


@cache
def load_faiss() -> Any:
    """Returns the module `faiss`; untyped, as its stubs lack most of the classes used here.

    Raises:
        RetrievalIndexError: If it is missing or older than 1.15.
    """
    try:
        import faiss
    except ImportError as error:
        raise RetrievalIndexError(
            "FAISS is missing; install it with: pip install 'faiss-cpu>=1.15'"
        ) from error
    version = str(faiss.__version__)
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise RetrievalIndexError(
            f"FAISS {version} is too old; install a newer one with: pip install 'faiss-cpu>=1.15'"
        )
    return faiss
