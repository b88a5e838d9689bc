"""Worker of `index_overhead.py`: search through kzoo next to FAISS alone, on the same file."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _compare import Result, serve
from numpy.typing import NDArray

K = 10
NOISE = 0.5  # length of what is added to a vector of unit length


def work(request: dict[str, Any]) -> Result:
    """Times batches and single queries of each way to search, in turns.

    Ways: "faiss", the index file read by FAISS and its own `search`, with the same parameters;
    "refined", for a lossy index, that and FAISS's re-scoring with raw vectors in memory;
    "searcher", the vector part of an open index; "index", `Index.search_vectors`, which checks the
    vectors and fetches texts, titles and metadata of the passages.
    """
    import faiss

    import retrieval_index

    faiss.omp_set_num_threads(request["threads"])
    index = retrieval_index.open(request["path"], checksums=False)
    with index:
        segment = index.info()["segments"][0]
        searcher = index._open().segments[0].vectors
        path = Path(request["path"]) / segment["files"]["vectors"]["path"]
        raw, refined = raw_search(path, searcher)
        queries = noisy_rows(searcher, request["queries"])
        ways: dict[str, Callable[[NDArray[Any]], Any]] = {
            "faiss": raw,
            **({} if refined is None else {"refined": refined}),
            "searcher": lambda rows: searcher.search(rows, K),
            "index": lambda rows: index.search_vectors(rows, K),
        }
        size = min(request["batch_size"], len(queries))
        batches = [queries[i : i + size] for i in range(0, len(queries) - size + 1, size)]
        singles = [queries[i : i + 1] for i in range(min(len(queries), request["singles"]))]
        for way in ways.values():  # files come into memory, caches fill
            way(batches[0])
            way(singles[0])
        best = ways.get("refined", raw)
        same = (best(queries)[1] == searcher.search(queries, K)[1]).mean()
        return {
            "factory": segment["vectors"]["factory"],
            "parameters": segment["vectors"]["parameters"],
            "same_results": float(same),
            "batch": in_turns(ways, batches, request["rounds"]),
            "single": in_turns(ways, singles, 1),
        }


def raw_search(
    path: Path, searcher: Any
) -> tuple[Callable[[NDArray[Any]], Any], Callable[[NDArray[Any]], Any] | None]:
    """What one would write with FAISS: the file read, parameters set, `search`.

    Returns:
        The search; and for a lossy index the search with re-scoring, else None.
    """
    import faiss

    index = faiss.read_index(str(path))
    parameters = searcher.parameters
    if "efSearch" in parameters:
        index.hnsw.efSearch = parameters["efSearch"]
    if "nprobe" in parameters:
        index.nprobe = parameters["nprobe"]
    if "quantizer_efSearch" in parameters:
        faiss.downcast_index(index.quantizer).hnsw.efSearch = parameters["quantizer_efSearch"]
    refine = None
    if searcher.family.lossy:
        flat = faiss.IndexFlatIP(index.d)
        flat.add(np.ascontiguousarray(searcher.raw))
        refined = faiss.IndexRefine(index, flat)
        refined.k_factor = parameters["k_factor"]
        kept = (index, flat)  # IndexRefine does not own them
        refine = partial(_refined_search, refined, kept)
    return lambda rows: index.search(rows, K), refine


def _refined_search(refined: Any, kept: Any, rows: NDArray[Any]) -> Any:
    return refined.search(rows, K)


def noisy_rows(searcher: Any, count: int) -> NDArray[np.float32]:
    """Queries: rows of the index, each moved in a random direction, of unit length."""
    rng = np.random.default_rng(0)
    rows = searcher.rows_at(rng.integers(searcher.count, size=count)).astype(np.float32)
    noise = rng.standard_normal(rows.shape).astype(np.float32)
    rows = rows + NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return np.ascontiguousarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def in_turns(
    ways: dict[str, Callable[[NDArray[Any]], Any]], parts: list[NDArray[Any]], rounds: int
) -> dict[str, list[float]]:
    """Milliseconds of every part by every way, the ways in turns within each part."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    number = 0
    for _ in range(rounds):
        for part in parts:
            # Who goes first finds the queries cold: each way is first equally often.
            names = list(ways)
            turn = number % len(names)
            number += 1
            for name in names[turn:] + names[:turn]:
                began = time.perf_counter()
                ways[name](part)
                taken[name].append(1000 * (time.perf_counter() - began))
    return taken


if __name__ == "__main__":
    serve(work)
