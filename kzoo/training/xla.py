"""Whether the training step is compiled by XLA."""

from __future__ import annotations

from kzoo.strategy import replica_count


def resolve_jit(jit_compile: bool | str) -> bool:
    """Turns `"auto"` into a decision.

    On a GPU or TPU, XLA. Under a `tf.distribute` strategy of several replicas, not: Keras' step
    fails there when compiled. On a CPU, not: see `benchmarks/jit.py` for the measurement.

    Args:
        jit_compile: `True`, `False` or `"auto"`.

    Returns:
        Whether to compile.
    """
    if jit_compile != "auto":
        return bool(jit_compile)
    if replica_count() > 1:
        return False
    import tensorflow as tf

    return any(device.device_type != "CPU" for device in tf.config.list_logical_devices())
