"""How many threads FAISS uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from retrieval_index.vectors.library import load_faiss


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
