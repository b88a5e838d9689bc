"""Raw strings for a Distiller: which data is text, and batches for one or two tokenisers.

Relies on what a `kzoo.Model` offers, without importing it: `model.text.fingerprint`,
`model.text.encode(rows) -> dict of arrays (n, length)`, and `model.prepare(x, y, sample_weight,
batch_size=..., shuffle=..., first_epoch=...) -> tf.data.Dataset`, which keeps the rows' order
unless it shuffles.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from kzoo.backbones.text import check_rows
from kzoo.distillation.errors import DistillationError
from kzoo.distillation.routing import known_keys
from kzoo.training.orders import epoch_generators


def is_text(x: Any) -> bool:
    """Whether `x` is raw text: strings, pairs of strings, a dataset split, `tf.data` of strings."""
    if _is_split(x) or isinstance(x, (str, bytes)):  # one string: `prepare` says what is wrong
        return True
    if hasattr(x, "element_spec"):
        import tensorflow as tf

        spec = x.element_spec[0] if isinstance(x.element_spec, tuple) else x.element_spec
        return any(getattr(s, "dtype", None) == tf.string for s in tf.nest.flatten(spec))
    if isinstance(x, np.ndarray):
        return x.dtype.kind in "US" or (x.size > 0 and isinstance(x.flat[0], (str, bytes)))
    if not isinstance(x, (list, tuple)):
        return False
    first: Any = x
    while isinstance(first, (list, tuple, np.ndarray)) and len(first) > 0:
        first = first[0]
    return isinstance(first, (str, bytes)) or len(x) == 0  # nothing: `prepare` says so


def takes_text(model: Any) -> bool:
    """Whether `model` prepares raw strings itself."""
    return getattr(model, "text", None) is not None and hasattr(model, "prepare")


def prepare(
    teacher: Any,
    student: Any,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    batch_size: int | None = None,
    shuffle: bool = False,
    first_epoch: int = 0,
    seed: int = 0,
) -> Any:
    """Batches of token ids for both models out of raw text.

    One encoding serves both when their tokenisers are the same (equal `text.fingerprint`) and it
    holds every input of the teacher; otherwise each batch is encoded twice, under the keys
    `"teacher/..."` and `"student/..."`. The texts are held in memory for that.

    Args:
        teacher: a `keras.Model`; without `text` it takes the student's encoding.
        student: a `keras.Model`; without `text` it takes the teacher's encoding.
        x: raw text, see `is_text`.
        y: labels, one per text, ints or strings; `None` when `x` brings them, or has none.
        sample_weight: one float per text. Defaults to `None`.
        batch_size: texts per batch. Defaults to `None` (the student's own choice).
        shuffle: whether the order changes each epoch. Defaults to `False`.
        first_epoch: number of the first order, where training is resumed. Defaults to 0.
        seed: of that order when both models encode. Defaults to 0.

    Returns:
        `tf.data.Dataset` of `(dict, int labels[, weights])`.
    """
    orders = epoch_generators(seed, first_epoch) if shuffle else None
    host = student if takes_text(student) else teacher
    size = {} if batch_size is None else {"batch_size": batch_size}
    both = takes_text(student) and takes_text(teacher)
    if both and student.text.fingerprint != teacher.text.fingerprint:
        return _encode_twice(teacher, student, x, (y, sample_weight), size, orders)
    batches = host.prepare(x, y, sample_weight, shuffle=shuffle, first_epoch=first_epoch, **size)
    if both and not _holds_inputs_of(teacher, batches):
        return _encode_twice(teacher, student, x, (y, sample_weight), size, orders)
    return batches


def _holds_inputs_of(model: Any, batches: Any) -> bool:
    spec = batches.element_spec
    inputs = spec[0] if isinstance(spec, tuple) else spec
    wanted = known_keys(model)
    return wanted is None or not isinstance(inputs, dict) or wanted <= set(inputs)


def _encode_twice(
    teacher: Any,
    student: Any,
    x: Any,
    columns: tuple[Any, Any],
    size: dict[str, int],
    orders: Iterator[np.random.Generator] | None,
) -> Any:
    import tensorflow as tf

    # The student knows how to read labels in every form; unshuffled, they stand as the texts do.
    parts = [
        keras.tree.flatten(batch[1:]) if isinstance(batch, tuple) else []
        for batch in student.prepare(x, *columns, shuffle=False, **size).as_numpy_iterator()
    ]
    others = [np.concatenate(column) for column in zip(*parts, strict=True)]
    rows = _texts(x)
    batch_size = size.get("batch_size") or -(-len(rows) // max(1, len(parts)))
    if others and len(others[0]) != len(rows):
        raise DistillationError(
            f"`x`: {len(rows)} texts gave {len(others[0])} labels; a dataset must yield the same "
            "rows in the same order each time (shuffle with `fit(shuffle=True)`)."
        )

    def batch_of(order: Any) -> tuple[Any, ...]:
        texts = [rows[i] for i in order]
        inputs = {
            f"{role}/{key}": np.asarray(value)
            for role, model in (("teacher", teacher), ("student", student))
            for key, value in model.text.encode(texts).items()
        }
        return (inputs, *(column[order] for column in others))

    def batches() -> Iterator[tuple[Any, ...]]:
        order = np.arange(len(rows)) if orders is None else next(orders).permutation(len(rows))
        for start in range(0, len(rows), batch_size):
            yield batch_of(order[start : start + batch_size])

    def spec(array: Any) -> Any:
        return tf.TensorSpec([None] * array.ndim, array.dtype)

    signature = tf.nest.map_structure(spec, batch_of(np.arange(1)))
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    steps = -(-len(rows) // batch_size)
    return dataset.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(1)


def _texts(x: Any) -> list[Any]:
    """The strings or pairs of `x` in memory, in order."""
    if not hasattr(x, "element_spec"):
        return check_rows(x.inputs if _is_split(x) else x)
    import tensorflow as tf

    if isinstance(x.element_spec, tuple):
        x = x.map(lambda text, *_: text)
    flat = tf.nest.flatten(x.element_spec)[0].shape
    # A batch of texts is (n,); a pair may be a tuple of two strings or a (..., 2) tensor.
    if flat.rank and not (flat.rank == 1 and flat[-1] == 2):
        x = x.unbatch()
    return check_rows(list(x.as_numpy_iterator()))


def _is_split(x: Any) -> bool:
    return hasattr(x, "inputs") and hasattr(x, "labels") and not hasattr(x, "layers")
