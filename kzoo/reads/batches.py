"""Encoded columns as a `tf.data.Dataset` of padded batches that Keras can fit on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kzoo.errors import InputError
from kzoo.reads.buckets import (
    bucket_for,
    choose_buckets,
    every_length,
    ordered_batches,
    shuffled_batches,
)
from kzoo.reads.held import Held
from kzoo.reads.orders import Passes
from kzoo.reads.read import Part

# (inputs by name, labels by output name, weights by row, (labels, weights) by output name of what
# is learned at tokens) -> batch
Pack = Callable[[dict[str, Any], dict[str, Any], Any, dict[str, Any]], Any]


def batches(
    parts: Sequence[Part],
    rows: int,
    pack: Pack,
    inputs: Mapping[str, Any],
    *,
    labels: Mapping[str, NDArray[Any]] | None = None,
    learned: Mapping[str, Any] | None = None,
    weights: NDArray[Any] | None = None,
    by_row: Mapping[str, NDArray[Any]] | None = None,
    batch_size: int,
    shuffle: bool = False,
    seed: int = 0,
    by_length: bool = False,
    passes: Passes | None = None,
    few_shapes: bool = True,
) -> tuple[Any, NDArray[np.int64]]:
    """A dataset of batches, and the order of its rows.

    Args:
        parts: Of all encoded columns. The lengths of the first that has any decide the order.
        rows: How many rows there are.
        pack: Arranges a batch as Keras wants it.
        inputs: Input name -> TensorSpec.
        labels: Output name -> n labels.
        learned: Output name -> TensorSpecs of the (labels, weights) that parts give for it.
        weights: float32 (n,).
        by_row: Further inputs of the model by name, arrays of n rows.
        batch_size: Rows a batch.
        shuffle: A new order in every epoch, by length buckets.
        seed: Decides the shuffled orders.
        by_length: Rows in order of their lengths, where they are not shuffled.
        passes: Number the shuffled orders. Default: from 0 on.
        few_shapes: A handful of padded lengths, for a step that XLA compiles anew for each. Where
            it does not, every length that occurs may be one, which pads almost nothing.

    Returns:
        tf.data.Dataset with known cardinality, and int (n,), the unshuffled order.
    """
    lead = next((part for part in parts if part.lengths is not None), None)
    lengths = np.zeros(rows, "int64") if lead is None or lead.lengths is None else lead.lengths
    buckets = [_buckets(part, few_shapes, most=4 if part is lead else 2) for part in parts]
    own_buckets = next((b for part, b in zip(parts, buckets, strict=True) if part is lead), (0,))
    order = np.argsort(lengths, kind="stable") if by_length else np.arange(rows)
    passes = passes or Passes()
    labels, further = dict(labels or {}), dict(by_row or {})

    def generate() -> Iterator[Any]:
        drawn = list(parts)
        if shuffle:
            epoch, generator = passes.begin(seed)
            plan = shuffled_batches(lengths, own_buckets, batch_size, generator)
            drawn = [part.draw(epoch) if part.draw else part for part in parts]
        else:
            plan = ordered_batches(lengths, own_buckets, batch_size, order)
        leading = next((part for part in drawn if part.lengths is not None), None)
        for numbers, length in plan:
            made, at_tokens = padded_parts(drawn, numbers, buckets, leading, length)
            made |= {name: values[numbers] for name, values in further.items()}
            weight = None if weights is None else weights[numbers]
            own = {name: values[numbers] for name, values in labels.items()}
            yield pack(made, own, weight, at_tokens)

    specs = {**inputs, **{name: _spec(v) for name, v in further.items()}}
    signature = pack(
        specs,
        {name: _spec(v) for name, v in labels.items()},
        None if weights is None else _spec(weights),
        dict(learned or {}),
    )
    held = Held(generate)
    dataset = tf.data.Dataset.from_generator(held.caller(), output_signature=signature)
    dataset.kzoo_held = held
    steps = -(-rows // batch_size)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)
    return without_tuner(dataset), order


def without_tuner(dataset: Any) -> Any:
    """The dataset without TensorFlow's tuner, unless somebody wants it.

    There is nothing to tune, and its thread sleeps between looks, each time twice as long as
    before; whoever deletes an iterator waits until it wakes. A fit or predict of a minute ended up
    to a minute late.
    """
    if dataset.options().autotune.enabled is not None:
        return dataset
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def padded_parts(
    parts: Sequence[Part],
    numbers: NDArray[np.int64],
    buckets: Sequence[Sequence[int]],
    lead: Part | None = None,
    lead_length: int = 0,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The inputs of some rows, and by output name what is learned at their tokens.

    Args:
        parts: Of all encoded columns.
        numbers: The rows.
        buckets: Lengths of each part; one is padded to the bucket of its longest row.
        lead: A part whose length is decided already.
        lead_length: That length.
    """
    made: dict[str, Any] = {}
    learned: dict[str, Any] = {}
    for part, own in zip(parts, buckets, strict=True):
        longest = 0 if part.lengths is None else int(part.lengths[numbers].max(initial=0))
        length = lead_length if part is lead else bucket_for(longest, own)
        made |= part.pad(numbers, length)
        learned |= {name: targets(numbers, length) for name, targets in part.targets.items()}
    return made, learned


def _buckets(part: Part, few_shapes: bool, most: int) -> tuple[int, ...]:
    if part.lengths is None:
        return (0,)
    if few_shapes:
        return choose_buckets(part.lengths, part.longest, most=most)
    return every_length(part.lengths, part.longest)


def _spec(array: NDArray[Any]) -> Any:
    return tf.TensorSpec((None, *array.shape[1:]), tf.as_dtype(array.dtype))


def one_row_each(parts: list[Part], rows: int) -> tuple[list[Part], NDArray[np.int64] | None]:
    """Parts with the same rows, where the texts of one have become windows.

    Returns:
        The parts, and which row of the table each of theirs is of; None where all are as they were.

    Raises:
        InputError: Two columns were cut, in different ways.
    """
    cut = [part.windows.places.rows for part in parts if part.windows is not None]
    ways = [own for own in cut if len(own) != rows]
    if not ways:
        return parts, None
    if len(parts) > 1 and len(cut) > 1 and any(not np.array_equal(own, cut[0]) for own in cut):
        raise InputError(
            "Two columns are read as windows, and some of their texts are longer than "
            "`max_tokens`, so that each would be cut in its own way. Make one a kzoo.TextInput."
        )
    return [p if p.windows is not None else p.of(cut[0]) for p in parts], cut[0]


def ones_for(labels: Any) -> Any:
    """Weights of 1, or their TensorSpec."""
    if isinstance(labels, tf.TensorSpec):
        return tf.TensorSpec((None,), tf.float32)
    return np.ones(len(labels), "float32")


def without_lists(values: Any) -> Any:
    """Lists as tuples: tf.data takes a list for one tensor."""
    if isinstance(values, Mapping):
        return {key: without_lists(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return tuple(without_lists(value) for value in values)
    return values
