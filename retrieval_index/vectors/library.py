"""The FAISS library, and how many threads it uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def openmp_threads(count: int | None) -> Iterator[None]:
    """Lets FAISS use so many threads in the block, as many as before if None.

    OpenMP keeps this number for every calling thread by itself: others are not slowed down.
    """
    faiss = load_faiss()
    before = faiss.omp_get_max_threads()
    if count is not None:
        faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
