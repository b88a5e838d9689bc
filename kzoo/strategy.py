"""Training under `tf.distribute`, also where the caller has left the strategy's scope.

A model belongs to the strategy under which it was made. Keras enters its scope where it makes
variables itself; kzoo makes some later (an adapter, a head whose classes `fit` counts, an optimizer
after a switch), and those must belong there too.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

_P = ParamSpec("_P")
_R = TypeVar("_R")


def strategy_scope(model: Any) -> AbstractContextManager[Any]:
    """The scope of the strategy under which a Keras model was made.

    Args:
        model: A Keras model; a layer that is none has no strategy.
    """
    strategy = getattr(model, "distribute_strategy", None)
    return nullcontext() if strategy is None else strategy.scope()  # type: ignore[no-any-return]


def current_strategy() -> Any:
    """The strategy whose scope is open, or None."""
    import tensorflow as tf

    return tf.distribute.get_strategy() if tf.distribute.has_strategy() else None


def in_strategy_scope(method: Callable[_P, _R]) -> Callable[_P, _R]:
    """Runs a method of a Keras model in the model's `strategy_scope`."""

    @wraps(method)
    def scoped(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with strategy_scope(args[0]):
            return method(*args, **kwargs)

    return scoped


def replica_count() -> int:
    """How many replicas share a batch; Keras divides each replica's loss by it."""
    import tensorflow as tf

    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def mean_over_replicas(value: Any) -> Any:
    """The mean of what each replica has of a tensor; on one device, and outside of a step, itself.

    What divides a loss has to be the same on all replicas: one that divides by its own count (of
    tokens, of known labels) makes the items of a poorer replica count for more.
    """
    import tensorflow as tf

    if (context := _replica()) is None:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, value)


def gathered(value: Any) -> tuple[Any, Any]:
    """The rows of all replicas, and the number of the first one that is this replica's.

    Args:
        value: (batch, ...), differentiable.

    Returns:
        (rows of all, ...), and an int32 scalar.
    """
    import tensorflow as tf

    if (context := _replica()) is None:
        return value, tf.constant(0)
    counts = context.all_gather(tf.shape(value)[:1], 0)
    number = context.replica_id_in_sync_group
    return context.all_gather(value, 0), tf.reduce_sum(counts[:number])


def _replica() -> Any:
    """The context of one of several replicas, inside of a step; else None."""
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return None if context is None or context.num_replicas_in_sync == 1 else context


def scalar(variable: Any) -> float:
    """The value of a scalar variable; `float()` refuses one that several replicas have."""
    return float(np.asarray(variable))
