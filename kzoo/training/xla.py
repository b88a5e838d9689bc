"""Whether the training step is compiled by XLA."""

from __future__ import annotations


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
    import tensorflow as tf

    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        return False
    return any(device.device_type != "CPU" for device in tf.config.list_logical_devices())
