"""Texts as a `tf.data.Dataset` of padded batches that Keras can fit on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kzoo.backbones.text import EncodedTexts, TextProcessor
from kzoo.training.buckets import (
    bucket_for,
    choose_buckets,
    every_length,
    ordered_batches,
    shuffled_batches,
)
from kzoo.training.orders import epoch_generators

_STREAM_BUCKETS = (16, 32, 64, 128, 256, 512)  # for text whose lengths are not known beforehand


def batches(
    text: TextProcessor,
    encoded: EncodedTexts,
    columns: Sequence[NDArray[Any]] = (),
    *,
    batch_size: int,
    shuffle: bool = False,
    seed: int = 0,
    order: NDArray[Any] | None = None,
    first_epoch: int = 0,
    few_shapes: bool = True,
    by_row: Mapping[str, NDArray[Any]] | None = None,
    by_token: Sequence[NDArray[Any]] = (),
    targets: EncodedTexts | None = None,
) -> Any:
    """A dataset of (inputs, *columns) from tokenised texts.

    Args:
        text: The processor that tokenised them.
        encoded: n tokenised texts.
        columns: Arrays of n rows that go along, such as labels and sample weights.
        batch_size: Rows a batch.
        shuffle: A new order in every epoch, by length buckets.
        seed: Decides the shuffled orders.
        order: int (n,), the rows' order where they are not shuffled. Default: as given.
        first_epoch: Number of the first shuffled order; more than 0 in a resumed training.
        few_shapes: A handful of padded lengths, for a step that XLA compiles anew for each. Where
            it does not, every length that occurs may be one, which pads almost nothing.
        by_row: Further inputs of the model by name, arrays of n rows.
        by_token: Flat arrays with one value a token, as `encoded.ids` (`targets.ids`, where there
            are targets); they come behind the columns as (batch, length), padded with 0.
        targets: What the decoder of an encoder-decoder gets, n rows, padded for themselves.
            Default: it gets the encoder's text.

    Returns:
        tf.data.Dataset with known cardinality; inputs are a dict of int32 (batch, length).
    """
    choose = choose_buckets if few_shapes else every_length
    buckets = choose(encoded.lengths, text.max_tokens)
    valued = encoded if targets is None else targets
    target_buckets = every_length(valued.lengths, text.max_tokens)
    if few_shapes:  # every pair of two lengths is a shape
        target_buckets = choose_buckets(valued.lengths, text.max_tokens, most=2)
    generators = epoch_generators(seed, first_epoch)
    further = dict(by_row or {})

    def generate() -> Iterator[Any]:
        if shuffle:
            plan = shuffled_batches(encoded.lengths, buckets, batch_size, next(generators))
        else:
            plan = ordered_batches(encoded.lengths, buckets, batch_size, order)
        for rows, length in plan:
            inputs = {
                **text.pad(encoded, rows, length),
                **{name: values[rows] for name, values in further.items()},
            }
            if targets is not None:
                length = bucket_for(int(targets.lengths[rows].max()), target_buckets)
                inputs |= text.pad_decoder(targets, rows, length)
            others = [column[rows] for column in columns]
            others += [_padded(values, valued.offsets, rows, length) for values in by_token]
            yield (inputs, *others) if others else inputs

    inputs = {name: tf.TensorSpec((None, None), tf.int32) for name in text.family.inputs}
    inputs |= {name: tf.TensorSpec((None,), tf.as_dtype(v.dtype)) for name, v in further.items()}
    others = [tf.TensorSpec((None, *c.shape[1:]), tf.as_dtype(c.dtype)) for c in columns]
    others += [tf.TensorSpec((None, None), tf.as_dtype(values.dtype)) for values in by_token]
    dataset = tf.data.Dataset.from_generator(
        generate, output_signature=(inputs, *others) if others else inputs
    )
    steps = -(-len(encoded) // batch_size)
    return dataset.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)


def _padded(
    values: NDArray[Any],
    offsets: NDArray[np.int64],
    rows: Sequence[int] | NDArray[np.int64],
    length: int,
) -> NDArray[Any]:
    """Rows of a ragged array, (len(rows), length)."""
    out = np.zeros((len(rows), length), values.dtype)
    for number, row in enumerate(rows):
        own = values[offsets[row] : offsets[row + 1]]
        out[number, : len(own)] = own
    return out


def streamed(
    text: TextProcessor, dataset: Any, batch_size: int, label_ids: Callable[[Any], Any] | None
) -> Any:
    """Tokenises a `tf.data.Dataset` of strings as it flows.

    Args:
        text: The processor.
        dataset: Elements are text, (text, label) or (text, label, weight), batched or not; a text
            may be a pair, as a tuple of two string tensors or a string tensor of shape (..., 2).
        batch_size: Used when the elements are not batched yet.
        label_ids: Maps a numpy array of labels (bytes or ints) to int32 ids; None keeps them.

    Returns:
        tf.data.Dataset of (inputs, ids[, weights]), or of inputs where there are no labels.
    """
    leading = tf.nest.flatten(dataset.element_spec)[0].shape
    paired = len(leading) > 0 and leading[-1] == 2
    if leading.rank == (1 if paired else 0):
        dataset = dataset.batch(batch_size)
    names = list(text.family.inputs)

    def tokenize(*columns: NDArray[Any]) -> list[NDArray[np.int32]]:
        texts = [column.astype(object) for column in columns]
        rows: list[Any] = (
            [tuple(map(_decode, pair)) for pair in zip(*texts, strict=True)]
            if len(texts) > 1
            else [
                tuple(map(_decode, r)) if isinstance(r, np.ndarray) else _decode(r)
                for r in texts[0]
            ]
        )
        encoded = text.tokenize(rows)
        longest = int(encoded.lengths.max(initial=1))
        limits = [b for b in _STREAM_BUCKETS if b < text.max_tokens] + [text.max_tokens]
        padded = text.pad(encoded, np.arange(len(encoded)), bucket_for(longest, limits))
        return [padded[name] for name in names]

    def prepare(x: Any, *others: Any) -> Any:
        tensors = tf.numpy_function(tokenize, tf.nest.flatten(x), [tf.int32] * len(names))
        for tensor in tensors:
            tensor.set_shape((None, None))
        inputs = dict(zip(names, tensors, strict=True))
        if not others:
            return inputs
        labels = others[0]
        if label_ids is not None:
            labels = tf.numpy_function(label_ids, [labels], tf.int32)
            labels.set_shape((None,))
        return (inputs, labels, *others[1:])

    # A tuple is (text, label[, weight]); a lone pair without label has to be a (..., 2) tensor.
    return dataset.map(prepare).prefetch(2)


def is_text_dataset(dataset: Any) -> bool:
    """Whether a `tf.data.Dataset` yields strings first."""
    if not isinstance(dataset, tf.data.Dataset):
        return False
    specs = tf.nest.flatten(dataset.element_spec)
    return bool(specs) and getattr(specs[0], "dtype", None) == tf.string


def _decode(value: Any) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)
