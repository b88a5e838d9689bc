"""Worker of `index_scale.py`: one side, one size, one kind, in a process of its own."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from _compare import Result, load_average, serve
from _memory import PeakMemory
from _scale_vectors import (
    Mixture,
    MixtureEncoder,
    OneNumber,
    Vectors,
    tiny_documents,
    worded_documents,
)
from _stage_clock import StageClock, time_build

K = 10
BATCH = 100
EFS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)


def work(request: dict[str, Any]) -> Result:
    """Runs the side that is asked for."""
    import faiss

    faiss.omp_set_num_threads(request["threads"])
    sides: dict[str, Callable[[dict[str, Any], Mixture], Result]] = {
        "truth": truth,
        "reader": reader,
        "kzoo build": kzoo_build,
        "kzoo search": kzoo_search,
        "faiss": hand_written_faiss,
        "hnswlib": hnswlib_graph,
    }
    mixture = Mixture(request["size"], request["dimension"], request["seed"])
    load = load_average()
    return {**sides[request["side"]](request, mixture), "load": [load, load_average()]}


def truth(request: dict[str, Any], mixture: Mixture) -> Result:
    """Keeps the exact neighbours of the queries in a file."""
    import faiss

    queries = mixture.queries(request["queries"])
    heap = faiss.ResultHeap(len(queries), K, keep_max=True)
    began = time.perf_counter()
    first = 0
    for block in mixture.blocks():
        scores, numbers = faiss.knn(queries, block, min(K, len(block)), faiss.METRIC_INNER_PRODUCT)
        heap.add_result(scores, numbers + first)
        first += len(block)
    heap.finalize()
    np.save(request["truth"], heap.I)
    return {"seconds": time.perf_counter() - began}


def reader(request: dict[str, Any], mixture: Mixture) -> Result:
    """Builds an index of worded documents whose vectors are one number long."""
    import retrieval_index

    with PeakMemory() as memory:
        began = time.perf_counter()
        index = retrieval_index.build(
            worded_documents(request["size"]),
            request["path"],
            OneNumber(),
            chunking="none",
            language=request["language"],
            index="Flat",
            progress=False,
        )
        seconds = time.perf_counter() - began
    index.close()
    return {"seconds": seconds, **memory_of(memory), **sizes(Path(request["path"]))}


def kzoo_build(request: dict[str, Any], mixture: Mixture) -> Result:
    """Builds an index through `retrieval_index.build`."""
    import retrieval_index

    with StageClock() as clock, PeakMemory() as memory:
        time_build(clock, documents=False)
        began = time.perf_counter()
        index = retrieval_index.build(
            tiny_documents(request["size"]),
            request["path"],
            MixtureEncoder(mixture),
            chunking="none",
            language=None,
            index=request["factory"],
            reproducible=request["reproducible"],
            seed=request["seed"],
            progress=False,
        )
        seconds = time.perf_counter() - began
    info = index.info()
    index.close()
    vectors = info["segments"][0]["vectors"]
    return {
        "seconds": seconds,
        "stages": clock.seconds,
        "factory": vectors["factory"],
        "parameters": vectors["parameters"],
        "measured": vectors["measured"],
        **memory_of(memory),
        **sizes(Path(request["path"])),
    }


def kzoo_search(request: dict[str, Any], mixture: Mixture) -> Result:
    """Measures recall and speed of a built index, with the parameters its build chose."""
    import retrieval_index

    queries = mixture.queries(request["queries"])
    with PeakMemory() as memory:
        began = time.perf_counter()
        index = retrieval_index.open(request["path"], checksums=False)
        opening = time.perf_counter() - began
        searcher = index._open().segments[0].vectors
        found = measured(lambda rows: searcher.search(rows, K)[1], queries, request)

        def whole(rows: Vectors) -> Vectors:
            answers = index.search_vectors(rows, K)
            return np.array([[int(hit.document_id) for hit in hits] for hits in answers])

        through = measured(whole, queries, request)
    index.close()
    passages = {f"search_vectors_{key}": value for key, value in through.items()}
    return {"opening": opening, **found, **passages, **memory_of(memory)}


def hand_written_faiss(request: dict[str, Any], mixture: Mixture) -> Result:
    """What one writes with FAISS: train on a sample, add blocks, write; the same parameters.

    A lossy index has FAISS's re-scoring with raw vectors in memory, as kzoo re-scores.
    """
    import faiss

    parameters = request["parameters"]
    factory = request["factory"]
    lossy = "k_factor" in parameters
    with PeakMemory() as memory:
        began = time.perf_counter()
        metric = faiss.METRIC_INNER_PRODUCT
        index = faiss.index_factory(mixture.dimension, factory, metric)
        if not index.is_trained:
            index.train(sample(mixture, request["sample"]))
        flat = faiss.IndexFlatIP(mixture.dimension)
        with only_threads(1 if factory.startswith("HNSW") and request["reproducible"] else None):
            for block in mixture.blocks():
                index.add(block)
                if lossy:
                    flat.add(block)
        faiss.write_index(index, request["path"])
        if lossy:
            faiss.write_index(flat, request["path"] + ".flat")
        seconds = time.perf_counter() - began
    if "efSearch" in parameters:
        index.hnsw.efSearch = parameters["efSearch"]
    if "nprobe" in parameters:
        index.nprobe = parameters["nprobe"]
    if "quantizer_efSearch" in parameters:
        faiss.downcast_index(index.quantizer).hnsw.efSearch = parameters["quantizer_efSearch"]
    whole = index
    if lossy:
        whole = faiss.IndexRefine(index, flat)
        whole.k_factor = parameters["k_factor"]
    queries = mixture.queries(request["queries"])
    found = measured(lambda rows: whole.search(rows, K)[1], queries, request)
    size = sum(file.stat().st_size for file in Path(request["path"]).parent.iterdir())
    return {"seconds": seconds, "bytes": size, **memory_of(memory), **found}


def hnswlib_graph(request: dict[str, Any], mixture: Mixture) -> Result:
    """hnswlib with FAISS's M and construction breadth, and the least `ef` with enough recall."""
    import hnswlib

    with PeakMemory() as memory:
        began = time.perf_counter()
        index = hnswlib.Index(space="ip", dim=mixture.dimension)
        index.init_index(max_elements=mixture.count, M=32, ef_construction=40, random_seed=100)
        index.set_num_threads(request["threads"])
        for block in mixture.blocks():
            index.add_items(block)
        index.save_index(request["path"])
        seconds = time.perf_counter() - began
    queries = mixture.queries(request["queries"])
    exact = np.load(request["truth"])
    for ef in EFS:
        index.set_ef(ef)
        numbers = index.knn_query(queries[::2], K)[0].astype(np.int64)
        if recall_of(numbers, exact[::2]) >= request["recall"]:
            break
    found = measured(
        lambda rows: index.knn_query(rows, K)[0].astype(np.int64),
        queries,
        request,
        index.set_num_threads,
    )
    size = Path(request["path"]).stat().st_size
    return {"seconds": seconds, "bytes": size, "parameters": {"ef": ef},
            **memory_of(memory), **found}  # fmt: skip


def measured(
    search: Callable[[Vectors], Any],
    queries: Vectors,
    request: dict[str, Any],
    set_threads: Callable[[int], None] | None = None,
) -> Result:
    """Recall@10 against the exact neighbours, queries a second in batches, ms of single ones."""
    exact = np.load(request["truth"])
    threads = request["threads"]
    found = np.concatenate([search(queries[i : i + BATCH]) for i in range(0, len(queries), BATCH)])
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        for first in range(0, len(queries), BATCH):
            search(queries[first : first + BATCH])
        seconds.append(time.perf_counter() - began)
    single = []
    with only_threads(1):
        if set_threads is not None:
            set_threads(1)
        for number in range(min(len(queries), 500)):
            began = time.perf_counter()
            search(queries[number : number + 1])
            single.append(1000 * (time.perf_counter() - began))
        if set_threads is not None:
            set_threads(threads)
    return {
        "recall": recall_of(found, exact),
        "batch_queries_a_second": len(queries) / statistics.median(seconds),
        "single_ms": statistics.median(single),
    }


def recall_of(found: Any, exact: Any) -> float:
    """Share of the exact neighbours that were found."""
    pairs = zip(np.asarray(found), exact, strict=True)
    return float(np.mean([len(set(row.tolist()) & set(true.tolist())) / K for row, true in pairs]))


def sample(mixture: Mixture, count: int) -> Vectors:
    """Rows to train on, at random, block by block."""
    chosen = np.sort(np.random.default_rng(1).choice(mixture.count, count, replace=False))
    parts, first = [], 0
    for block in mixture.blocks():
        begin, end = np.searchsorted(chosen, (first, first + len(block)))
        parts.append(block[chosen[begin:end] - first])
        first += len(block)
    return np.concatenate(parts)


@contextmanager
def only_threads(count: int | None) -> Iterator[None]:
    """FAISS with so many threads."""
    import faiss

    before = faiss.omp_get_max_threads()
    if count is not None:
        faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def memory_of(memory: PeakMemory) -> Result:
    """Peaks in bytes."""
    return {
        "peak_resident": memory.resident,
        "peak_anonymous": memory.anonymous,
        "resident_before": memory.before,
    }


def sizes(folder: Path) -> Result:
    """Bytes of all files of an index, and of each by name."""
    files = {path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    return {"bytes": sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()),
            "files": files}  # fmt: skip


if __name__ == "__main__":
    serve(work)
