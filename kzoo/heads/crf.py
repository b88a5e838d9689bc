"""A linear-chain conditional random field over tags (Lafferty, McCallum, Pereira 2001)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from kzoo.errors import InputError
from kzoo.metrics.entities import FOLLOWING, OPENING, goes_on, parse_tag

_FORBIDDEN = -1e9  # finite, so that gradients are
Parameters = tuple[Any, Any, Any]  # transitions, start, end


class Allowed(NamedTuple):
    """What may stand where in a chain of n tags.

    Attributes:
        between: bool (n, n): whether tag j may follow tag i.
        start: bool (n,): whether a tag may be the first.
        end: bool (n,): whether a tag may be the last.
    """

    between: NDArray[np.bool_]
    start: NDArray[np.bool_]
    end: NDArray[np.bool_]


def allowed_transitions(tags: Sequence[str], scheme: str = "bio") -> Allowed:
    """What a scheme allows: exactly the chains in which every tag but `O` is part of an entity.

    Args:
        tags: The n tags, in the order of the ids.
        scheme: `bio`, `iobes` or `plain` (which allows all), as in `kzoo.metrics.entities`.

    Raises:
        ValueError: A tag that the scheme does not have.
    """
    parsed = [parse_tag(tag, scheme) for tag in tags]
    follows = np.asarray([letter in FOLLOWING for letter, _ in parsed], bool)
    open_ = np.asarray([letter in OPENING and scheme == "iobes" for letter, _ in parsed], bool)
    joined = np.asarray([[goes_on(first, second) for second in parsed] for first in parsed], bool)
    return Allowed(joined | ~(open_[:, None] | follows[None, :]), ~follows, ~open_)


@keras.saving.register_keras_serializable(package="kzoo")
class CRF(keras.layers.Layer):  # type: ignore[misc]
    """Scores chains of tags: the sum of emissions, transitions, and values of both ends.

    A chain is made of the positions where the mask is true, in their order; positions between or
    after them, such as further subwords and padding, do not count. Everything is computed in
    float32. As a layer it maps emissions to the best tags; training uses `log_likelihood`:

        crf = CRF(len(tags), allowed_transitions(tags, "bio"))
        model.compile(loss=lambda tags, emissions: -crf.log_likelihood(emissions, tags, tags >= 0))

    Variables, zero at the start (each position by itself, but for what is forbidden):
    `transitions` (num_tags, num_tags) from row to column, `start` and `end` (num_tags,).

    Args:
        num_tags: Number of tags n.
        allowed: What `allowed_transitions` gives. What it forbids has a score of -1e9 in the
            likelihood, and is never part of the best chain. Default: everything is allowed.
        **kwargs: As every Keras layer.

    Raises:
        InputError: `allowed` is of another size, or leaves no chain of some length.
    """

    def __init__(self, num_tags: int, allowed: Any = None, **kwargs: Any) -> None:
        kwargs.setdefault("dtype", "float32")
        super().__init__(autocast=False, **kwargs)
        self.supports_masking = True
        self.num_tags = num_tags
        self._allowed = None if allowed is None else _checked(allowed, num_tags)

        def zeros(*shape: int, name: str) -> Any:
            return self.add_weight(shape, "zeros", dtype="float32", autocast=False, name=name)

        self.transitions = zeros(num_tags, num_tags, name="transitions")
        self.start = zeros(num_tags, name="start")
        self.end = zeros(num_tags, name="end")
        self.built = True

    def call(self, emissions: Any, mask: Any = None) -> Any:
        """As `viterbi`."""
        return self.viterbi(emissions, mask)

    def log_likelihood(self, emissions: Any, tags: Any, mask: Any = None) -> Any:
        """The log of the probability of chains of tags among all chains of their length.

        Args:
            emissions: float (batch, length, num_tags).
            tags: int (batch, length), 0 to num_tags - 1 where the mask is true.
            mask: bool (batch, length). Default: all count.

        Returns:
            float32 (batch,), at most 0; 0 for a row without positions; below -1e8 for a chain that
            `allowed` forbids. NaN for a row with a tag that does not exist: a compiled step cannot
            raise.
        """
        return chain_log_likelihood(self.parameters(), emissions, tags, mask)

    def viterbi(self, emissions: Any, mask: Any = None) -> Any:
        """The best chains of tags (Viterbi 1967); among equals the lowest tag, from the last back.

        Args:
            emissions: float (batch, length, num_tags).
            mask: bool (batch, length). Default: all count.

        Returns:
            int32 (batch, length), the tags; -1 where the mask is false.
        """
        return best_chain(self.parameters(), emissions, mask)

    def parameters(self) -> Parameters:
        """Transitions, start and end as they are applied, -1e9 for what is forbidden."""
        values = (self.transitions, self.start, self.end)
        return with_forbidden(self._allowed, *map(ops.convert_to_tensor, values))

    def get_config(self) -> dict[str, Any]:
        """`num_tags` and `allowed`."""
        allowed = None if self._allowed is None else [part.tolist() for part in self._allowed]
        return {**super().get_config(), "num_tags": self.num_tags, "allowed": allowed}


def with_forbidden(allowed: Allowed | None, *values: Any) -> Parameters:
    """Transitions, start and end with -1e9 for what is forbidden."""
    if allowed is not None:
        pairs = zip(allowed, values, strict=True)
        values = tuple(ops.where(own, value, _FORBIDDEN) for own, value in pairs)
    return values  # type: ignore[return-value]


def chain_log_likelihood(parameters: Parameters, emissions: Any, tags: Any, mask: Any) -> Any:
    """See `CRF.log_likelihood`; of given transitions, start and end."""
    transitions, start, end = parameters
    size = emissions.shape[-1]
    emissions, mask, order = _in_order(emissions, mask)
    tags = ops.take_along_axis(ops.cast(tags, "int32"), order, axis=1)
    known = ops.logical_and(tags >= 0, tags < size)
    tags = ops.where(ops.logical_and(known, mask), tags, 0)

    count = ops.cast(mask, "float32")
    own = ops.squeeze(ops.take_along_axis(emissions, tags[:, :, None], axis=2), axis=2)
    pairs = tags[:, :-1] * size + tags[:, 1:]
    steps = ops.take(ops.reshape(transitions, (-1,)), pairs)
    number = ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True)
    last = ops.take_along_axis(tags, ops.maximum(number - 1, 0), axis=1)[:, 0]
    score = ops.sum(own * count, axis=1) + ops.sum(steps * count[:, 1:], axis=1)
    score += ops.take(start, tags[:, 0]) + ops.take(end, last)

    def step(before: Any, here: Any) -> Any:
        emission, real = here
        after = ops.logsumexp(before[:, :, None] + transitions, axis=1) + emission
        return ops.where(real[:, None], after, before)

    first = start + emissions[:, 0]
    sums = tf.scan(step, _by_position(emissions, mask), first)
    total = ops.logsumexp(ops.concatenate([first[None], sums])[-1] + end, axis=-1)
    right = ops.all(ops.logical_or(known, ops.logical_not(mask)), axis=1)
    return ops.where(right, ops.where(mask[:, 0], score - total, 0.0), float("nan"))


def best_chain(parameters: Parameters, emissions: Any, mask: Any) -> Any:
    """See `CRF.viterbi`; of given transitions, start and end."""
    # What is forbidden has to lose against any sum of scores.
    transitions, start, end = (
        ops.where(value <= _FORBIDDEN / 10, -float("inf"), value) for value in parameters
    )
    emissions, mask, order = _in_order(emissions, mask)
    stay = ops.arange(emissions.shape[-1], dtype="int32")

    def step(before: Any, here: Any) -> Any:
        (best, _), (emission, real) = before, here
        scores = best[:, :, None] + transitions
        after = ops.max(scores, axis=1) + emission
        came_from = ops.cast(ops.argmax(scores, axis=1), "int32")
        real = real[:, None]
        return ops.where(real, after, best), ops.where(real, came_from, stay)

    first = start + emissions[:, 0]
    nowhere = ops.zeros_like(first, dtype="int32")
    best, came_from = tf.scan(step, _by_position(emissions, mask), (first, nowhere))
    best = ops.concatenate([first[None], best])[-1]
    last = ops.cast(ops.argmax(best + end, axis=-1), "int32")

    def back(tag: Any, pointers: Any) -> Any:
        return ops.take_along_axis(pointers, tag[:, None], axis=1)[:, 0]

    tags = tf.scan(back, came_from, last, reverse=True)
    tags = ops.where(mask, ops.transpose(ops.concatenate([tags, last[None]])), -1)
    return ops.take_along_axis(tags, ops.argsort(order, axis=1), axis=1)


def _in_order(emissions: Any, mask: Any) -> tuple[Any, Any, Any]:
    """Emissions with the positions that count first and zeros after; their mask; their places."""
    emissions = ops.cast(emissions, "float32")
    shape = ops.shape(emissions)
    mask = ops.ones(shape[:2], "bool") if mask is None else ops.cast(mask, "bool")
    order = ops.argsort(ops.where(mask, 0, shape[1]) + ops.arange(shape[1]), axis=1)
    mask = ops.take_along_axis(mask, order, axis=1)
    emissions = ops.take_along_axis(emissions, order[:, :, None], axis=1)
    return ops.where(mask[:, :, None], emissions, 0.0), mask, order


def _by_position(emissions: Any, mask: Any) -> tuple[Any, Any]:
    """What `tf.scan` goes through; Keras' scan has no gradient under XLA, and no dynamic length."""
    return ops.transpose(emissions, (1, 0, 2))[1:], ops.transpose(mask)[1:]


def _checked(allowed: Any, number: int) -> Allowed:
    parts = Allowed(*(np.asarray(part, bool) for part in allowed))
    shapes = [part.shape for part in parts]
    if shapes != [(number, number), (number,), (number,)]:
        raise InputError(
            f"`allowed` must have the shapes ({number}, {number}), ({number},) and ({number},) for "
            f"{number} tags. Received: {shapes}"
        )
    reached, seen = parts.start, set()
    while reached.tobytes() not in seen:  # the tags that may stand at position 1, 2, ...
        seen.add(reached.tobytes())
        if not (reached & parts.end).any():
            raise InputError(f"`allowed` leaves no chain of {len(seen)} tags. Is there no tag `O`?")
        reached = reached @ parts.between
    return parts
