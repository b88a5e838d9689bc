"""Raw rows that flow: `tf.data`, generators and `keras.utils.PyDataset`, encoded batch by batch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from types import GeneratorType
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kzoo.errors import InputError
from kzoo.keras_internals import is_batched
from kzoo.reads.batches import padded_parts, without_tuner
from kzoo.reads.held import Held
from kzoo.reads.read import Part

# (x, labels, weights) of one batch, raw -> the batch as Keras wants it
Encode = Callable[[Any, Any, Any], Any]
_OURS = re.compile(r"^(?:.*kzoo\.errors\.)?InputError: (.*)$", re.MULTILINE)
_LENGTHS = (16, 32, 64, 128, 256, 512)  # for rows whose lengths are not known beforehand


def is_stream(x: Any) -> bool:
    """Whether x gives its rows in batches, and not all at once."""
    return isinstance(x, (tf.data.Dataset, keras.utils.PyDataset, GeneratorType))


def stream_parts(parts: list[Part], rows: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The inputs of one batch, padded to a few lengths that do not depend on the rest."""
    buckets = [
        (0,)
        if part.lengths is None
        else (*(length for length in _LENGTHS if length < part.longest), max(part.longest, 1))
        for part in parts
    ]
    return padded_parts(parts, np.arange(rows), buckets)


# --- tf.data -------------------------------------------------------------------------------


def holds_text(dataset: Any) -> bool:
    """Whether a `tf.data.Dataset` yields strings among its inputs."""
    spec = dataset.element_spec
    first = spec[0] if isinstance(spec, tuple) else spec
    return any(getattr(leaf, "dtype", None) == tf.string for leaf in tf.nest.flatten(first))


def batched(dataset: Any, batch_size: int) -> Any:
    """A dataset of raw rows as one of raw batches.

    A text may be a pair, as a tuple of two string tensors or a string tensor of shape (..., 2).

    Raises:
        InputError: Two strings that may be a pair or a batch of two texts.
    """
    dataset = _of_known_rank(dataset)
    spec = dataset.element_spec
    first, *others = spec if isinstance(spec, tuple) else (spec,)
    shape = next(leaf.shape for leaf in tf.nest.flatten(first) if leaf.dtype == tf.string)
    if shape.rank != 1 or shape[0] != 2 or isinstance(first, (tuple, Mapping)):
        return dataset if shape.rank else dataset.batch(batch_size)
    together = is_batched(dataset)
    if together is None:
        ranks = [leaf.shape.rank for leaf in tf.nest.flatten(others)]
        if not ranks:
            raise InputError(
                "`x` yields two strings at a time: a pair, or a batch of two texts? Pass pairs as "
                "a tuple of two tensors, and batches without `drop_remainder`."
            )
        together = ranks[0] != 0  # a row's label is a number, a batch's a vector
    return dataset if together else dataset.batch(batch_size)


def _of_known_rank(dataset: Any) -> Any:
    """With the rank of each tensor, as its first element has them where they are not declared."""
    spec = dataset.element_spec
    if all(leaf.shape.rank is not None for leaf in tf.nest.flatten(spec)):
        return dataset
    first = next(iter(dataset.take(1)), None)
    if first is None:
        raise InputError("`x` is empty. At least one row is needed.")
    shapes = [(None, *leaf.shape[1:]) if leaf.shape.rank else () for leaf in tf.nest.flatten(first)]

    def shaped(*element: Any) -> Any:
        flat = tf.nest.flatten(element)
        known = [tf.ensure_shape(leaf, own) for leaf, own in zip(flat, shapes, strict=True)]
        return tf.nest.pack_sequence_as(spec, known)

    return dataset.map(shaped)


def encoded_dataset(dataset: Any, encode: Encode, signature: Any) -> Any:
    """Encodes a dataset of raw batches as it flows.

    Args:
        dataset: See `batched`.
        encode: Encodes one batch.
        signature: TensorSpecs of an encoded batch.
    """
    spec = dataset.element_spec
    flat_signature = tf.nest.flatten(signature)

    def run(*arrays: NDArray[Any]) -> list[NDArray[Any]]:
        element = tf.nest.pack_sequence_as(spec, [_plain(array) for array in arrays])
        x, y, weights = unpacked(element)
        return [
            np.asarray(array, s.dtype.as_numpy_dtype)
            for array, s in zip(tf.nest.flatten(encode(x, y, weights)), flat_signature, strict=True)
        ]

    held = Held(run)
    caller = held.caller()

    def prepare(*element: Any) -> Any:
        tensors = tf.numpy_function(
            caller, tf.nest.flatten(element), [s.dtype for s in flat_signature]
        )
        for tensor, own in zip(tensors, flat_signature, strict=True):
            tensor.set_shape(own.shape)
        return tf.nest.pack_sequence_as(signature, tensors)

    encoded = dataset.map(prepare)
    encoded.kzoo_held = held
    return without_tuner(encoded.prefetch(2))


def unpacked(element: Any) -> tuple[Any, Any, Any]:
    """(x, y, weights) of an element of a stream, as Keras reads them."""
    if isinstance(element, tuple) and len(element) <= 3:
        x, y, weights = (*element, None, None)[:3]
        return x, y, weights
    return element, None, None


def _plain(array: Any) -> Any:
    """Bytes as strings."""
    array = np.asarray(array)
    if array.dtype.kind not in "SO":
        return array
    flat = [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in array.flat]
    out = np.empty(array.size, object)
    out[:] = flat
    return out.reshape(array.shape)


# --- Generators and PyDataset -----------------------------------------------------------------


class EncodedPyDataset(keras.utils.PyDataset):  # type: ignore[misc]
    """A PyDataset of raw batches, encoded where it is asked for one.

    Args:
        raw: The user's.
        encode: Encodes one batch.
    """

    def __init__(self, raw: Any, encode: Encode) -> None:
        super().__init__(raw.workers, raw.use_multiprocessing, raw.max_queue_size)
        self.raw = raw
        self.encode = encode

    def __getitem__(self, index: int) -> Any:
        """One batch."""
        return self.encode(*unpacked(self.raw[index]))

    @property
    def num_batches(self) -> Any:
        """As the user's says."""
        return self.raw.num_batches

    def __len__(self) -> int:
        """Batches."""
        return len(self.raw)

    def on_epoch_begin(self) -> None:
        """Passed on."""
        self.raw.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Passed on."""
        self.raw.on_epoch_end()


def peeked(x: Any) -> tuple[Any, Any]:
    """The first batch of a generator or PyDataset, and the whole of it again.

    Raises:
        InputError: There is none.
    """
    if not isinstance(x, GeneratorType):
        if len(x) == 0:
            raise InputError("`x` is empty. At least one batch is needed.")
        return x[0], x
    try:
        first = next(x)
    except StopIteration as error:
        raise InputError("`x` is empty. At least one batch is needed.") from error
    return first, _again(first, x)


def _again(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield from chain([first], rest)


def encoded_generator(x: Iterator[Any], encode: Encode) -> Iterator[Any]:
    """A generator of raw batches, encoded as it flows."""
    for element in x:
        batch = encode(*unpacked(element))
        yield batch if isinstance(batch, tuple) else (batch,)


# --- Errors ------------------------------------------------------------------------------------


@contextmanager
def own_errors() -> Iterator[None]:
    """Lets an error about a row be what it was, where TensorFlow has wrapped it.

    Raises:
        InputError: What a read or a head had raised while a batch was made.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        found = _OURS.search(str(error.message))
        if found is None:
            raise
        raise InputError(found[1].strip()) from error
