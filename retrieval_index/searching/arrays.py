"""What a training loop passes in and gets back: arrays of vectors, passage numbers and scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retrieval_index.encoders.protocol import normalized
from retrieval_index.errors import ArgumentError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from retrieval_index.searching.passage import Numbers, Ranking, Scores
    from retrieval_index.searching.version import Version
    from retrieval_index.storage.manifest import EncoderEntry

    Vectors = npt.NDArray[np.float32]

NO_PASSAGE = -1  # stands where there is none, as FAISS has it


def check_query_vectors(
    vectors: npt.ArrayLike, encoder: EncoderEntry, *, single: bool = False
) -> Vectors:
    """Returns query vectors as an index compares them, float32 of shape (n, dimension).

    Args:
        vectors: Numbers of shape (n, dimension).
        encoder: Says the dimension, and whether rows are scaled to length 1.
        single: Whether the shape (dimension,) is taken too, as n = 1. Default False.

    Raises:
        ArgumentError: If the shape is another, or a value is no number or not finite.
    """
    import numpy as np

    try:
        given = np.asarray(vectors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"`vectors` must be an array of floats ({error}).") from error
    rows = given[None] if single and given.ndim == 1 else given
    if rows.ndim != 2 or rows.shape[1] != encoder.dimension:
        also = f" or ({encoder.dimension},)" if single else ""
        raise ArgumentError(
            f"`vectors` must have the shape (n, {encoder.dimension}){also}; received {given.shape}."
        )
    if not np.isfinite(rows).all():
        raise ArgumentError("`vectors` must be finite; received NaN or infinity.")
    rows = np.ascontiguousarray(rows)
    return normalized(rows) if encoder.normalize else rows


def rectangle(rankings: list[Ranking], k: int) -> tuple[Numbers, Scores]:
    """Returns hits as int64 (n, k) and float32 (n, k); -1 and -inf behind the last of a query."""
    import numpy as np

    numbers = np.full((len(rankings), k), NO_PASSAGE, dtype=np.int64)
    scores = np.full((len(rankings), k), -np.inf, dtype=np.float32)
    for row, (found_scores, found) in enumerate(rankings):
        numbers[row, : len(found)] = found
        scores[row, : len(found)] = found_scores
    return numbers, scores


def check_numbers(numbers: npt.ArrayLike, version: Version) -> Numbers:
    """Returns passage numbers as int64 of their own shape.

    Raises:
        ArgumentError: If they are no whole numbers, or one is neither -1 nor a passage of this
            version that is there and not deleted.
    """
    import numpy as np

    try:
        given = np.asarray(numbers)
    except ValueError as error:  # rows of different lengths
        raise ArgumentError(f"`numbers` must be an array of passage numbers ({error}).") from error
    if given.dtype.kind not in "iu" and given.size:  # an empty list is one of floats to NumPy
        raise ArgumentError(
            f"`numbers` must be whole numbers, of any shape; received: {given.dtype} of shape "
            f"{given.shape}."
        )
    total = version.bases[-1]
    outside = (given < NO_PASSAGE) | (given >= total)
    if outside.any():
        raise ArgumentError(
            f"`numbers` must lie in [0, {total}), the passages of this version, or be -1 for none; "
            f"received: {given[outside].flat[0]}."
        )
    whole = given.astype(np.int64)
    deleted = version.deleted(whole.ravel())
    if deleted.any():
        raise ArgumentError(
            "`numbers` must be those of passages that are not deleted; received: "
            f"{whole.ravel()[deleted][0]}, which is."
        )
    return whole


def passages_at(numbers: Numbers, version: Version) -> list[Any]:
    """Returns the passages of checked numbers, in lists nested as the array is; None for -1."""
    import numpy as np

    if numbers.ndim == 0:
        raise ArgumentError("`numbers` must be a list or an array of passage numbers.")
    rows = numbers.reshape(-1, numbers.shape[-1]) if numbers.size else numbers.reshape(0, 1)
    kept = [row[row != NO_PASSAGE] for row in rows]
    found = version.passages([(np.zeros(len(row), np.float32), row) for row in kept])
    flat = np.full(numbers.size, None, dtype=object)
    flat[numbers.ravel() != NO_PASSAGE] = [passage for row in found for passage in row]
    nested: list[Any] = flat.reshape(numbers.shape).tolist()
    return nested
