"""What a FAISS index is made of, compared with what its factory string says."""

from __future__ import annotations

from typing import Any

from retrieval_index.vectors.family import Family, make_empty
from retrieval_index.vectors.rows import load_faiss


def structure(index: Any) -> dict[str, Any]:
    """Returns the parts of an index that decide how its bytes are read."""
    faiss = load_faiss()
    found: dict[str, Any] = {
        "type": _plain(index),
        "dimension": index.d,
        "metric": index.metric_type,
    }
    scalar = getattr(index, "sq", None)
    product = getattr(index, "pq", None)
    if hasattr(index, "hnsw"):
        storage = faiss.downcast_index(index.storage)
        found["links"] = tuple(faiss.vector_to_array(index.hnsw.cum_nneighbor_per_level).tolist())
        found["storage"] = structure(storage)
    elif hasattr(index, "nlist"):
        quantizer = faiss.downcast_index(index.quantizer)
        found["lists"] = index.nlist
        found["quantizer"] = structure(quantizer)
        found["code_size"] = index.code_size
        found["residual"] = bool(index.by_residual)
    elif hasattr(index, "code_size"):
        found["code_size"] = index.code_size
    if scalar is not None:
        found["scalar"] = (scalar.qtype, scalar.code_size)
    if product is not None:
        found["product"] = (product.M, product.nbits, product.dsub)
    return found


def structural_problem(index: Any, family: Family, count: int, dimension: int) -> str | None:
    """Returns in what an index is not what its factory string says, or None; cheap.

    Args:
        index: The FAISS index that was read.
        family: What it must be.
        count: Number of vectors it must hold.
        dimension: Length they must have.

    Returns:
        A sentence without a full stop, or None.
    """
    faiss = load_faiss()
    if type(index) is faiss.Index:
        return "it is of an unknown kind"
    wanted, found = structure(make_empty(family, dimension)), structure(index)
    for key in {**wanted, **found}:
        if wanted.get(key) != found.get(key):
            return f"its {key} is {found.get(key)!r}, and {wanted.get(key)!r} was expected"
    if index.ntotal != count:
        return f"it holds {index.ntotal:,} vectors, and {count:,} were expected"
    if not index.is_trained:
        return "it is not trained"
    if family.graph is not None:
        return _graph_problem(index.hnsw, faiss.downcast_index(index.storage), count)
    if family.lists is not None:
        return _lists_problem(index, family, count)
    return _codes_problem(index, count)


def content_problem(index: Any, family: Family, count: int) -> str | None:
    """Returns a row number or link outside the index, or None; reads every one of them.

    Checksums say that a file is the one that was written, not that it was written well: FAISS
    follows a link out of a graph to wherever it points.

    Args:
        index: An index without a structural problem.
        family: What it is.
        count: Number of vectors in it.

    Returns:
        A sentence without a full stop, or None.
    """
    import numpy as np

    faiss = load_faiss()
    if family.graph is not None:
        return _links_problem(index.hnsw, count)
    if family.lists is None:
        return None
    if family.coarse_graph:
        problem = _links_problem(faiss.downcast_index(index.quantizer).hnsw, family.lists)
        if problem is not None:
            return f"in the graph of its lists, {problem}"
    seen = np.zeros(count, bool)
    for number in range(family.lists):
        ids = list_ids(index, number)
        if len(ids) and (ids.min() < 0 or ids.max() >= count):
            return f"its list {number} holds a row outside 0..{count - 1}"
        seen[ids] = True
    return None if seen.all() else f"row {int(np.flatnonzero(~seen)[0])} is in none of its lists"


def list_ids(index: Any, number: int) -> Any:
    """Returns the row numbers in an inverted list, int64 of shape (n,), copied."""
    import numpy as np

    faiss = load_faiss()
    size = index.invlists.list_size(number)
    if size == 0:
        return np.empty(0, np.int64)
    held = index.invlists.get_ids(number)
    ids = faiss.rev_swig_ptr(held, size).copy()
    index.invlists.release_ids(number, held)
    return ids


def _plain(index: Any) -> str:
    # FAISS reads back an IndexFlat of inner products as the subclass IndexFlatIP.
    name = type(index).__name__
    return "IndexFlat" if name == "IndexFlatIP" else name


def _codes_problem(index: Any, count: int) -> str | None:
    size = index.codes.size()
    wanted = count * index.code_size
    return None if size == wanted else f"it has {size:,} bytes of codes, and needs {wanted:,}"


def _graph_problem(graph: Any, storage: Any, count: int) -> str | None:
    if storage.ntotal != count:
        return f"its graph is over {storage.ntotal:,} vectors, and {count:,} were expected"
    if graph.levels.size() != count or graph.offsets.size() != count + 1:
        return f"its graph has {graph.levels.size():,} nodes for {count:,} vectors"
    if graph.offsets.at(count) != graph.neighbors.size():
        return "its graph has more or fewer links than its nodes"
    if count and not 0 <= graph.entry_point < count:
        return f"its graph is entered at {graph.entry_point}, outside 0..{count - 1}"
    if count and graph.levels.at(graph.entry_point) != graph.max_level + 1:
        return f"its graph is entered from level {graph.max_level}, where the entry is not"
    return _codes_problem(storage, count)


def _lists_problem(index: Any, family: Family, count: int) -> str | None:
    faiss = load_faiss()
    quantizer = faiss.downcast_index(index.quantizer)
    lists = family.lists or 0
    if quantizer.ntotal != lists or index.invlists.nlist != lists:
        return f"it has {quantizer.ntotal:,} centroids for {lists:,} lists"
    if family.coarse_graph:
        problem = _graph_problem(quantizer.hnsw, faiss.downcast_index(quantizer.storage), lists)
        if problem is not None:
            return f"in the graph of its lists, {problem}"
    held = index.invlists.compute_ntotal()
    return (
        None if held == count else f"its lists hold {held:,} vectors, and {count:,} were expected"
    )


def _links_problem(graph: Any, count: int) -> str | None:
    import numpy as np

    faiss = load_faiss()
    links = faiss.rev_swig_ptr(graph.neighbors.data(), graph.neighbors.size())
    if len(links) and (links.min() < -1 or links.max() >= count):
        return f"a link leads outside 0..{count - 1}"
    before = faiss.vector_to_array(graph.cum_nneighbor_per_level)  # links of a node below a level
    levels = faiss.vector_to_array(graph.levels)
    offsets = faiss.vector_to_array(graph.offsets).astype(np.int64)
    if levels.min(initial=1) < 1 or levels.max(initial=1) > min(
        graph.max_level + 1, len(before) - 1
    ):
        return "a node is above its highest level"
    if offsets[0] != 0 or (np.diff(offsets) != before[levels]).any():
        return "its nodes have more or fewer links than their levels allow"
    for level in range(1, graph.max_level + 1):
        nodes = offsets[:-1][levels > level]
        led_to = links[nodes[:, None] + np.arange(before[level], before[level + 1])]
        if (levels[led_to[led_to >= 0]] <= level).any():
            return f"a link of level {level} leads to a node below it"
    return None
