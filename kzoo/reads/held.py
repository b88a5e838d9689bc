"""`Held`: functions that `tf.data` calls, and that are freed with their dataset."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any


class Held:
    """A function that a dataset calls, held by the dataset alone.

    TensorFlow keeps each such function in a list of the default graph, for ever: with it the
    encoded texts, and the model whose reads made them. So it gets one that only refers to it, and
    the dataset, which those that are made of it and their iterators hold, gets this.

    Args:
        function: What is called.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def caller(self) -> Callable[..., Any]:
        """What TensorFlow may keep."""
        known = weakref.ref(self)

        def call(*arguments: Any) -> Any:
            held = known()
            assert held is not None, "the dataset holds it"
            return held.function(*arguments)

        return call
