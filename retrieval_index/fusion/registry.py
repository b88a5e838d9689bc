"""Fusion methods by name."""

from __future__ import annotations

from typing import Any

from retrieval_index.errors import ArgumentError
from retrieval_index.fusion.min_max import MinMax
from retrieval_index.fusion.protocol import FusionMethod
from retrieval_index.fusion.rrf import ReciprocalRank
from retrieval_index.fusion.z_score import ZScore

METHODS: dict[str, type[Any]] = {"rrf": ReciprocalRank, "min-max": MinMax, "z-score": ZScore}


def find_method(method: str | FusionMethod) -> FusionMethod:
    """Returns a fusion method, found by name (with its defaults) where a name is given.

    Raises:
        ArgumentError: If the name is unknown, or the object has no `values`.
    """
    if isinstance(method, str):
        if method not in METHODS:
            raise ArgumentError(f"`method` must be one of {', '.join(METHODS)}; got: {method!r}.")
        found: FusionMethod = METHODS[method]()
        return found
    if isinstance(method, type) or not callable(getattr(method, "values", None)):
        raise ArgumentError(
            f"`method` must be one of {', '.join(METHODS)} or an object with a method `values`; "
            f"received: {method!r}."
        )
    return method
