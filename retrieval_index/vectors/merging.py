"""Several indexes made into one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_index.errors import ArgumentError, CorruptIndexError
from retrieval_index.vectors.choice import IndexChoice
from retrieval_index.vectors.family import Family, make_empty, parse_factory
from retrieval_index.vectors.filling import Progress, tell, write_index, write_vectors
from retrieval_index.vectors.rows import block_rows, in_blocks, load_faiss
from retrieval_index.vectors.searcher import VectorSearcher
from retrieval_index.vectors.structure import list_ids, structure

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Source = tuple[VectorSearcher, npt.NDArray[np.bool_] | None]


def merge_vectors(
    sources: Sequence[Source],
    choice: IndexChoice,
    path: Path,
    *,
    seed: int = 0,
    reproducible: bool = True,
    progress: Progress | None = None,
) -> bool:
    """Makes one index of the rows of several and writes it durably.

    Rows are numbered in the order of the sources, without those not kept. Inverted lists trained
    together, of which every row is kept, are joined as they are; otherwise the rows are read again
    and a new index is trained for them.

    Args:
        sources: Searchers, each with a bool array of shape (count,) of the rows to keep, or None
            for all.
        choice: The index to make.
        path: The file to write. Raw rows beside a lossy index are not written: `merged_rows`.
        seed: As in `write_vectors`.
        reproducible: As in `write_vectors`.
        progress: As in `write_vectors`; "merging" counts joined rows.

    Returns:
        Whether the lists were joined, and nothing was trained.

    Raises:
        ArgumentError: If there are no rows, or their dimensions differ.
    """
    sources = [(searcher, _some(keep, searcher)) for searcher, keep in sources]
    dimensions = {searcher.dimension for searcher, _ in sources}
    if len(dimensions) != 1:
        raise ArgumentError(f"`sources` must have one dimension; received: {sorted(dimensions)}.")
    dimension = dimensions.pop()
    indexes = [searcher.index for searcher, _ in sources]
    if all(keep is None for _, keep in sources) and can_join(indexes, choice.factory):
        join_indexes(indexes, choice, path, progress=progress)
        return True
    count = sum(searcher.count if keep is None else int(keep.sum()) for searcher, keep in sources)
    if count == 0:
        raise ArgumentError("`sources` must keep at least one row; received none.")
    write_vectors(
        lambda: merged_rows(sources),
        count,
        dimension,
        choice,
        path,
        seed=seed,
        reproducible=reproducible,
        progress=progress,
    )
    return False


def merged_rows(sources: Iterable[Source]) -> Iterator[npt.NDArray[np.float32]]:
    """Yields the kept vectors of all sources in order, float32 (n, dimension), in blocks."""
    import numpy as np

    for searcher, keep in sources:
        keep = _some(keep, searcher)
        size = block_rows(searcher.dimension)
        for first in range(0, searcher.count, size):
            last = min(first + size, searcher.count)
            if keep is None:
                yield searcher.rows(first, last - first)
            elif keep[first:last].any():
                yield searcher.rows_at(first + np.flatnonzero(keep[first:last]))


def can_join(indexes: Sequence[Any], factory: str) -> bool:
    """Returns whether indexes are inverted lists of this kind, all with the same training."""
    if not indexes:
        return False
    family = parse_factory(factory, indexes[0].d)
    if family.lists is None or any(not hasattr(index, "nlist") for index in indexes):
        return False
    return len({training_digest(index) for index in indexes}) == 1 and _is(family, indexes[0])


def join_indexes(
    indexes: Iterable[Any], choice: IndexChoice, path: Path, *, progress: Progress | None = None
) -> int:
    """Joins inverted lists that were trained together, and writes the index durably.

    Give an iterator that opens one at a time, and memory holds the result and one of them.

    Args:
        indexes: FAISS indexes in the order of their rows; row r of one becomes r + the rows of
            those before. They are not changed.
        choice: What they are.
        path: The file to write.
        progress: Called with "merging" and "writing".

    Returns:
        The number of rows.

    Raises:
        ArgumentError: If there is none, they are no inverted lists, or were trained apart: a code
            means something else in each then, and FAISS would join them without a word.
    """
    joined: Any = None
    training = ""
    for number, index in enumerate(indexes):
        if joined is None:
            family = parse_factory(choice.factory, index.d)
            if family.lists is None or not _is(family, index):
                raise ArgumentError(
                    f"`indexes` must be {choice.factory}, with inverted lists, to be joined; "
                    f"received: {type(index).__name__}. `merge_vectors` makes a new index of any."
                )
            joined, training = _emptied(index, family), training_digest(index)
        if training_digest(index) != training:
            raise ArgumentError(
                f"`indexes` must come from one trained index; number {number} has other centroids "
                "or codes than number 0."
            )
        _append(joined, index, family)
        tell(progress, "merging", int(joined.ntotal), int(joined.ntotal))
    if joined is None:
        raise ArgumentError("`indexes` must be at least one; received none.")
    tell(progress, "writing", int(joined.ntotal), int(joined.ntotal))
    write_index(joined, path)
    return int(joined.ntotal)


def add_part(
    trained: Path,
    parts: Iterable[npt.NDArray[np.float32]],
    dimension: int,
    choice: IndexChoice,
    path: Path,
) -> int:
    """Fills a copy of a trained, empty index with some of the rows; the step done in many places.

    Args:
        trained: Written by `write_index(train_empty(...), trained)`. Not changed.
        parts: float32 arrays of shape (n, dimension); their rows are numbered from 0, and
            `join_indexes` counts on from the rows of the parts before.
        dimension: Length of a row.
        choice: What the index is.
        path: The file to write.

    Returns:
        The number of rows added.

    Raises:
        CorruptIndexError: If `trained` is no trained, empty index of this kind.
    """
    faiss = load_faiss()
    family = parse_factory(choice.factory, dimension)
    try:
        index = faiss.read_index(str(trained))  # on the heap: a mapped index cannot grow
    except (RuntimeError, MemoryError) as error:
        raise CorruptIndexError(f"{trained} cannot be read by FAISS: {error}") from error
    if not _is(family, index) or index.ntotal != 0 or not index.is_trained:
        raise CorruptIndexError(f"{trained} is no trained, empty {choice.factory}.")
    for block in in_blocks(parts, dimension):
        index.add(block)
    write_index(index, path)
    return int(index.ntotal)


def training_digest(index: Any) -> str:
    """Returns a hash of everything an IVF index learnt in training: centroids and codes."""
    faiss = load_faiss()
    digest = hashlib.sha256(repr(structure(index)).encode())
    quantizer = faiss.downcast_index(index.quantizer)
    digest.update(quantizer.reconstruct_n(0, quantizer.ntotal).tobytes())
    if hasattr(index, "sq"):
        digest.update(faiss.vector_to_array(index.sq.trained).tobytes())
    if hasattr(index, "pq"):
        digest.update(faiss.vector_to_array(index.pq.centroids).tobytes())
    return digest.hexdigest()


def _is(family: Family, index: Any) -> bool:
    return structure(index) == structure(make_empty(family, index.d))


def _some(
    keep: npt.NDArray[np.bool_] | None, searcher: VectorSearcher
) -> npt.NDArray[np.bool_] | None:
    """Returns `keep`, checked; None if it keeps everything."""
    import numpy as np

    if keep is None:
        return None
    array = np.asarray(keep)
    if array.dtype != np.bool_ or array.shape != (searcher.count,):
        raise ArgumentError(
            f"`sources`: rows to keep must be bool of shape ({searcher.count},); received: "
            f"{array.dtype} of shape {array.shape}."
        )
    return None if array.all() else array


def _emptied(index: Any, family: Family) -> Any:
    """Returns a copy of an index with its training and none of its vectors."""
    faiss = load_faiss()
    copy = faiss.clone_index(index)
    if family.fast_scan:
        copy.reset()
        return copy
    # The lists of a mapped index are still the mapped file; emptying those would end the program.
    lists = faiss.ArrayInvertedLists(index.nlist, index.invlists.code_size)
    copy.replace_invlists(lists, True)
    lists.this.disown()  # the copy frees them
    copy.ntotal = 0
    return copy


def _append(joined: Any, index: Any, family: Family) -> None:
    """Adds all rows of an index behind those of another; the index stays as it is."""
    faiss = load_faiss()
    first = joined.ntotal
    if family.fast_scan:
        joined.merge_from(faiss.clone_index(index), first)  # empties what it is given
        return
    source, target = index.invlists, joined.invlists
    for number in range(index.nlist):
        ids = list_ids(index, number)
        if len(ids):
            ids += first
            codes = source.get_codes(number)
            target.add_entries(number, len(ids), faiss.swig_ptr(ids), codes)
            source.release_codes(number, codes)
    joined.ntotal = first + index.ntotal
