"""Worker: completions by kzoo, with its cached decoding. See `_compare.run_worker`."""

from __future__ import annotations

import time
from typing import Any

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

    first = call(1)
    again = call(1), call(request["new_tokens"])
    return {
        "load": loaded - start,
        "first": first[0],
        "prefill": again[0][0],
        "prefill_cpu": again[0][1],
        "decode": again[1][0] - again[0][0],
        "decode_cpu": again[1][1] - again[0][1],
        "traces": model.decoding().traces,
        "text": again[1][2][0],
    }


if __name__ == "__main__":
    serve(work)
