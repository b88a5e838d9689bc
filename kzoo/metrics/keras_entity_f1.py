"""Strict F1 of entities as a Keras metric, from tags of words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kzoo.metrics.entities import FOLLOWING, OPENING, parse_tag


@keras.saving.register_keras_serializable(package="kzoo")
class EntityF1(keras.metrics.Metric):  # type: ignore[misc]
    """Micro F1 of entities over all batches: type, first and last word must be right.

    What is an entity is said in `kzoo.metrics.entities`, mode `strict`.

    Args:
        labels: The tags, in the order of the outputs.
        scheme: `bio`, `iobes` or `plain`.
        name: In the logs.
        **kwargs: As `keras.metrics.Metric`.
    """

    def __init__(
        self, labels: Sequence[str], scheme: str = "bio", name: str = "entity_f1", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.labels = list(labels)
        self.scheme = scheme
        letters, kinds = zip(*(parse_tag(label, scheme) for label in self.labels), strict=True)
        self._type = [sorted({*kinds}).index(kind) for kind in kinds]
        self._begins = [letter in ("B", "S", "") for letter in letters]
        self._opens = [letter in (*OPENING, "") for letter in letters]
        self._follows = [letter in (*FOLLOWING, "") for letter in letters]
        self._whole = [letter == "S" for letter in letters]
        self._ends = [letter == "E" for letter in letters]
        for which in ("correct", "predicted", "true"):
            setattr(self, which, self.add_variable((), "zeros", dtype="float32", name=which))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch.

        Args:
            y_true: int (batch, length), numbers of tags; below 0 where no word begins.
            y_pred: float (batch, length, tags), logits or probabilities.
            sample_weight: float (batch, length); an entity has that of its first word.
        """
        y_true = ops.cast(y_true, "int32")
        words = y_true >= 0
        weight = ops.cast(words, "float32")
        if sample_weight is not None:
            weight = weight * ops.cast(sample_weight, "float32")
        true, true_end, type_ = self._entities(ops.maximum(y_true, 0), words)
        found, found_end, found_type = self._entities(ops.argmax(y_pred, axis=-1), words)
        same = true & found & (true_end == found_end) & (type_ == found_type)
        for variable, which in ((self.correct, same), (self.predicted, found), (self.true, true)):
            variable.assign_add(ops.sum(ops.cast(which, "float32") * weight))

    def _entities(self, tags: Any, words: Any) -> tuple[Any, Any, Any]:
        """Where entities begin, where the words behind them stand, and of what type they are."""
        tags = ops.cast(tags, "int32")
        length = ops.shape(tags)[1]
        places = ops.broadcast_to(ops.arange(length, dtype="int32"), ops.shape(tags))
        # The word before: of so many words before this place the last one.
        count = ops.cumsum(ops.cast(words, "int32"), axis=1) - ops.cast(words, "int32")
        sorted_ = ops.sort(ops.where(words, places, length), axis=1)
        before = ops.take_along_axis(sorted_, ops.maximum(count - 1, 0), axis=1)
        before = ops.where(count > 0, before, -1)
        previous = ops.take_along_axis(tags, ops.maximum(before, 0), axis=1)
        type_ = ops.take(ops.array(self._type, "int32"), tags)
        goes_on = (
            words
            & (before >= 0)
            & _of(self._follows, tags)
            & _of(self._opens, previous)
            & (type_ == ops.take(ops.array(self._type, "int32"), previous))
        )
        end = _next(words & ~goes_on, places, length)
        begins = words & ~goes_on & _of(self._begins, tags)
        if self.scheme == "iobes":
            ended = _next(goes_on & _of(self._ends, tags), places, length) < end
            begins = begins & (_of(self._whole, tags) | ended)
        return begins, end, type_

    def result(self) -> Any:
        """F1 of everything counted, 0 before the first entity."""
        both = ops.convert_to_tensor(self.predicted) + ops.convert_to_tensor(self.true)
        return ops.cast(
            ops.divide_no_nan(2.0 * ops.convert_to_tensor(self.correct), both), self.dtype
        )

    def get_config(self) -> dict[str, Any]:
        """See Keras."""
        return {**super().get_config(), "labels": self.labels, "scheme": self.scheme}


def _of(facts: Sequence[bool], tags: Any) -> Any:
    return ops.take(ops.array(list(facts), "bool"), tags)


def _next(which: Any, places: Any, length: Any) -> Any:
    """The first place behind each at which `which` is true, else the length."""
    found = ops.sort(ops.where(which, places, length), axis=1)
    found = ops.concatenate([found, ops.zeros_like(found[:, :1]) + length], axis=1)
    return ops.take_along_axis(found, ops.cumsum(ops.cast(which, "int32"), axis=1), axis=1)
