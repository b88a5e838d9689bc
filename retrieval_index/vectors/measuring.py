"""What a setting of the search parameters is worth, measured on queries that did not choose it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval_index.vectors.searcher import VectorSearcher
from retrieval_index.vectors.tuning import OperatingPoint, _check, _times, _without

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def measure(
    searcher: VectorSearcher,
    queries: npt.NDArray[np.float32],
    *,
    k: int = 10,
    exclude: npt.NDArray[np.int64] | None = None,
) -> OperatingPoint:
    """Returns recall@k against exact search, and times, of a searcher as it is.

    Args:
        searcher: The index with its parameters.
        queries: float32 of shape (n, dimension).
        k: Results per query.
        exclude: As in `tune`.
    """
    import numpy as np

    own = _check(searcher, queries, k, 1.0, None, exclude)
    wanted = k + (own is not None)
    truth, _ = _without(own, *searcher.exact(queries, wanted))
    scores, _ = _without(own, *searcher.search(queries, wanted))
    # Scores differ in the last bits with the way they are summed up.
    least = truth[:, k - 1] - 1e-5 * np.maximum(1, np.abs(truth[:, k - 1]))
    recall = float((scores[:, :k] >= least[:, None]).mean())
    return OperatingPoint(searcher.parameters, recall, *_times(searcher, queries, wanted))
