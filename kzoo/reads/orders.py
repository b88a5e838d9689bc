"""Which epoch has which shuffled order: the same in every training, resumed ones included."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kzoo.keras_internals import every_layer

_CALLS = 64  # of a random generator in one step, at most


class Passes(keras.callbacks.Callback):  # type: ignore[misc]
    """Counts the passes over the data.

    As a callback it lets the first one of a `fit` be the epoch that this begins with, which
    `BackupAndRestore` decides late; and Keras begins one that it does not finish to build a model
    under a `tf.distribute` strategy.

    Args:
        first: Number of the first pass.
    """

    def __init__(self, first: int = 0) -> None:
        super().__init__()
        self.next = first
        self._begun = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """See the class; dropout too begins each epoch as if nothing had been interrupted.

        Files hold no state of Keras' random generators, but that of the optimizer: they start at
        its number of steps.
        """
        if not self._begun:
            self.next = epoch
        self._begun = True
        start = (int(np.asarray(self.model.optimizer.iterations)) * _CALLS) % 2**32
        for layer in every_layer(self.model):
            state = getattr(getattr(layer, "seed_generator", None), "state", None)
            if state is not None:
                state.assign([int(np.asarray(state)[0]), start])

    def begin(self, seed: int) -> tuple[int, np.random.Generator]:
        """Number of a pass that begins, and a random generator of its own."""
        number = self.next
        self.next += 1
        return number, np.random.default_rng((seed, number))
