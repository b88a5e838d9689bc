"""kzoo's sides of `per_row.py`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _compare import Result, serve


def work(request: dict[str, Any]) -> Result:
    """Milliseconds of a forward pass, by number of adapters."""
    import tensorflow as tf

    import kzoo

    tf.config.threading.set_intra_op_parallelism_threads(request["threads"])
    found: Result = {}
    for adapters in request["adapters"]:
        model = kzoo.load("bert-linear", num_classes=2)
        names = [f"a{number}" for number in range(adapters)]
        rng = np.random.default_rng(0)
        for name in names:
            model.adapters.add(name, "lora[r=8,alpha=16]", activate=False)
            for variable in model.adapters.variables(name).values():
                variable.assign(rng.normal(0, 0.02, variable.shape))
        shape = (request["rows"], request["tokens"])
        inputs = {
            "token_ids": tf.constant(rng.integers(1000, 20000, shape), "int32"),
            "segment_ids": tf.zeros(shape, "int32"),
            "padding_mask": tf.ones(shape, "int32"),
        }
        ids = np.arange(request["rows"], dtype="int32") % adapters
        if request["kind"] == "gather":
            run = _gather(model, names, inputs, ids)
        else:
            run = _loop(model, names, inputs, ids)
        run()
        seconds = []
        for _ in range(request["calls"]):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        found[str(adapters)] = 1e3 * statistics.median(seconds)
    return found


def _gather(model: Any, names: list[str], inputs: Any, ids: Any) -> Callable[[], Any]:
    import tensorflow as tf

    import kzoo

    model.adapters.activate(kzoo.PerRow(*names))
    step = tf.function(lambda batch: model(batch))
    batch = {**inputs, "adapter_ids": tf.constant(ids)}
    return lambda: step(batch).numpy()


def _loop(model: Any, names: list[str], inputs: Any, ids: Any) -> Callable[[], Any]:
    import tensorflow as tf

    steps = []
    for number, name in enumerate(names):
        # Traced while its adapter is active, so that the loop itself switches nothing.
        model.adapters.activate(name)
        rows = np.flatnonzero(ids == number)
        batch = {key: tf.gather(value, rows) for key, value in inputs.items()}
        step = tf.function(lambda batch: model(batch))
        step(batch)
        steps.append((step, batch))
    return lambda: [step(batch).numpy() for step, batch in steps]


if __name__ == "__main__":
    serve(work)
