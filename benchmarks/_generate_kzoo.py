"""Worker: completions by kzoo, with its cached decoding. See `_compare.run_worker`."""

from __future__ import annotations

import time
from typing import Any

from _clock import first_prefill_decode
from _compare import Result, serve


def work(request: dict[str, Any]) -> Result:
    """Times first and warm calls; one new token is the prefill, the rest is decoding."""
    start = time.perf_counter()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(request["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(1)
    import kzoo

    model = kzoo.load("llama-lora", backbone=request["weights"], max_tokens=request["max_tokens"])
    # The peer has no adapter. The end token is not to stop either side before its time.
    model.adapters.deactivate()
    type(model).end = property(lambda self: -1)
    prompts = [request["prompt"]] * request["batch_size"]
    loaded = time.perf_counter()

    def call(count: int) -> tuple[float, float, list[str]]:
        began = time.perf_counter(), time.process_time()
        found = model.generate(prompts, max_new_tokens=count, batch_size=len(prompts))
        return time.perf_counter() - began[0], time.process_time() - began[1], found

    found = first_prefill_decode(call, request["new_tokens"])
    return {"load": loaded - start, **found, "traces": model.decoding().traces}


if __name__ == "__main__":
    serve(work)
