"""Worker: sentence vectors by sentence-transformers. See `_compare.run_worker`."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from _compare import Result, serve
from _tasks import documents, trunk_folder


def work(request: dict[str, Any]) -> Result:
    """Encodes the documents twice: cold and warm. Keeps the vectors in a file."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(request["threads"])
    texts = documents(request["texts"])
    model = SentenceTransformer(str(trunk_folder()), device="cpu")
    seconds = []
    for _ in range(2):
        start = time.perf_counter(), time.process_time()
        vectors = model.encode(texts, batch_size=request["batch_size"], show_progress_bar=False)
        seconds.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    np.save(request["vectors"], vectors)
    return {
        "cold": len(texts) / seconds[0][0],
        "warm": len(texts) / seconds[1][0],
        "cpu_cold": seconds[0][1],
        "cpu_warm": seconds[1][1],
    }


if __name__ == "__main__":
    serve(work)
