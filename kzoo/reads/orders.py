"""Which epoch has which shuffled order: the same in every training, resumed ones included."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np

from kzoo.strategy import strategy_scope


def epoch_generators(seed: int, first_epoch: int = 0) -> Iterator[np.random.Generator]:
    """A random generator for each pass over the data, from one epoch on."""
    for epoch in count(first_epoch):
        yield np.random.default_rng((seed, max(epoch, 0)))


def first_pass(model: Any, initial_epoch: int) -> int:
    """Number of the first pass over the data that `fit` begins.

    Under a `tf.distribute` strategy Keras begins one that it does not finish, to build the model.
    """
    import tensorflow as tf

    with strategy_scope(model):
        return initial_epoch - int(tf.distribute.has_strategy())
