"""The optimizer of a recipe, and whether the training step is compiled by XLA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from kzoo.strategy import replica_count

if TYPE_CHECKING:
    from kzoo.training.settings import Training


class _ClipsTheSum:
    """Clips the gradient of the whole batch, where replicas of a strategy have a part each.

    Keras clips each replica's part and then adds them up, which is another step than on one device
    (tensorflow issue 33929).
    """

    def _clip_gradients(self, grads: list[Any]) -> Any:
        return super()._clip_gradients(grads) if replica_count() == 1 else grads  # type: ignore[misc]

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        summed = super()._all_reduce_sum_gradients(grads_and_vars)  # type: ignore[misc]
        if replica_count() == 1 or not summed:
            return summed
        clipped = super()._clip_gradients([gradient for gradient, _ in summed])  # type: ignore[misc]
        return list(zip(clipped, (variable for _, variable in summed), strict=True))


@keras.saving.register_keras_serializable(package="kzoo")
class Adam(_ClipsTheSum, keras.optimizers.Adam):  # type: ignore[misc]
    """`keras.optimizers.Adam`, whose clipping does not depend on the number of replicas."""


@keras.saving.register_keras_serializable(package="kzoo")
class AdamW(_ClipsTheSum, keras.optimizers.AdamW):  # type: ignore[misc]
    """`keras.optimizers.AdamW`, whose clipping does not depend on the number of replicas."""


def default_optimizer(training: Training, learning_rate: Any = None) -> Any:
    """Adam, or AdamW where the recipe decays weights (never biases and norms), with clipping.

    Args:
        training: The recipe's values.
        learning_rate: Peak rate, or a `LearningRateSchedule`, instead of the recipe's.
    """
    options = {
        "learning_rate": training.learning_rate if learning_rate is None else learning_rate,
        "global_clipnorm": training.clip_norm,
    }
    if not training.weight_decay:
        return Adam(**options)
    optimizer = AdamW(weight_decay=training.weight_decay, **options)
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return optimizer


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
