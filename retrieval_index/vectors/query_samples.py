"""Vectors to search for where no queries are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval_index.vectors.searcher import VectorSearcher

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]


def sample_queries(searcher: VectorSearcher, numbers: npt.NDArray[np.int64], seed: int) -> Vectors:
    """Returns rows of an index, moved half as far as to a nearest neighbour.

    A graph finds its own rows far too easily: the links of a row are its neighbours. With 20,000
    and 100,000 x 384 clustered synthetic vectors and efSearch 8, recall@10 of other vectors of the
    same distribution was .915 and .816; of rows of the index, each left out of its own results,
    .989 and .965; of rows moved in this way, .90 with 20,000. Inverted lists know no such
    favourites (nprobe 16 of 256: .969, and .975 of rows), and there moved rows would be too hard.

    The move is in the direction of a difference of two other rows, so that it stays among the
    directions in which the vectors differ, and its length is the same for all rows, so that a row
    that is there twice is moved too.

    Args:
        searcher: The index.
        numbers: Which rows, int64 (n,).
        seed: Chooses the directions.

    Returns:
        float32 (n, dimension), of the lengths of the rows.
    """
    import numpy as np

    rng = np.random.default_rng([seed, len(numbers)])
    rows = searcher.rows_at(numbers)
    _, found = searcher.exact(rows, 2)
    nearest = searcher.rows_at(np.where(found[:, 0] == numbers, found[:, 1], found[:, 0]))
    units, lengths = _units(rows)
    likeness = np.median(np.einsum("ij,ij->i", units, _units(nearest)[0]))
    cosine = (1 + np.clip(likeness, 0, 1)) / 2
    ends = [searcher.rows_at(rng.integers(searcher.count, size=len(rows))) for _ in range(2)]
    direction = (ends[0] - ends[1]).astype(np.float64)
    direction -= np.einsum("ij,ij->i", direction, units)[:, None] * units
    moved = cosine * units + np.sqrt(1 - cosine**2) * _units(direction)[0]
    return np.ascontiguousarray(_units(moved)[0] * lengths, dtype=np.float32)


def _units(
    rows: npt.NDArray[np.floating],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Returns rows of length 1 (zero rows stay zero), and the lengths, (n, 1)."""
    import numpy as np

    wide = rows.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return wide / np.where(lengths == 0, 1, lengths), lengths
