"""Raw strings for a Distiller: which data is text, and batches for one or two tokenisers.

Relies on what a `kzoo.Model` offers, without importing it: `model.text.fingerprint`,
`model.text.encode(list) -> dict of arrays`, `model.prepare(x, y, sample_weight, batch_size,
shuffle) -> tf.data.Dataset`, and `model.labels`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kzoo.distillation.routing import known_keys


def is_text(x: Any) -> bool:
    """Whether `x` is raw text: strings, pairs of strings, a kzoo dataset, `tf.data` of strings."""
    if hasattr(x, "inputs") and hasattr(x, "labels"):
        return True
    if hasattr(x, "element_spec"):
        import tensorflow as tf

        spec = x.element_spec[0] if isinstance(x.element_spec, tuple) else x.element_spec
        return any(getattr(s, "dtype", None) == tf.string for s in tf.nest.flatten(spec))
    if isinstance(x, np.ndarray):
        return x.dtype.kind in "US" or (x.size > 0 and isinstance(x.flat[0], str))
    if isinstance(x, (list, tuple)) and len(x) > 0:
        first = x[0]
        return isinstance(first, str) or (
            isinstance(first, (list, tuple)) and len(first) > 0 and isinstance(first[0], str)
        )
    return False


def takes_text(model: Any) -> bool:
    """Whether `model` prepares raw strings itself."""
    return getattr(model, "text", None) is not None and hasattr(model, "prepare")


def prepare(
    teacher: Any,
    student: Any,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    batch_size: int = 32,
    shuffle: bool = False,
    seed: int = 0,
) -> Any:
    """Batches of token ids for both models out of raw text.

    One encoding serves both when their tokenisers are the same (equal `text.fingerprint`) and it
    holds every input of the teacher; otherwise each batch is encoded twice, under the keys
    `"teacher/..."` and `"student/..."`.

    Args:
        teacher: a `keras.Model`; without `text` it takes the student's encoding.
        student: a `keras.Model`; without `text` it takes the teacher's encoding.
        x: raw text, see `is_text`.
        y: labels, one per text, ints or strings; `None` when `x` brings them, or has none.
        sample_weight: one float per text. Defaults to `None`.
        batch_size: texts per batch. Defaults to 32.
        shuffle: whether the order changes each epoch. Defaults to `False`.
        seed: of that order. Defaults to 0.

    Returns:
        `tf.data.Dataset` of `(dict, int labels[, weights])`.
    """
    host = student if takes_text(student) else teacher
    both = takes_text(student) and takes_text(teacher)
    if both and student.text.fingerprint != teacher.text.fingerprint:
        return _encode_twice(teacher, student, x, y, sample_weight, batch_size, shuffle, seed)
    batches = host.prepare(x, y, sample_weight, batch_size=batch_size, shuffle=shuffle)
    if both and not _holds_inputs_of(teacher, batches):
        return _encode_twice(teacher, student, x, y, sample_weight, batch_size, shuffle, seed)
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
    y: Any,
    sample_weight: Any,
    batch_size: int,
    shuffle: bool,
    seed: int,
) -> Any:
    import tensorflow as tf

    columns = _columns(x, y, sample_weight)
    count = len(columns[0])
    if count == 0:
        raise ValueError("`x`: received no texts; it must hold at least one.")
    random = np.random.default_rng(seed)  # outside: the order differs from epoch to epoch

    def rows(order: Any) -> tuple[Any, ...]:
        texts = [columns[0][i] for i in order]
        inputs = {
            f"{role}/{key}": np.asarray(value)
            for role, model in (("teacher", teacher), ("student", student))
            for key, value in model.text.encode(texts).items()
        }
        rest = [columns[1][i] for i in order] if columns[1] is not None else None
        batch: list[Any] = [inputs]
        if rest is not None:
            batch.append(label_ids(rest, getattr(student, "labels", None)))
        if columns[2] is not None:
            batch.append(np.asarray([columns[2][i] for i in order], "float32"))
        return tuple(batch)

    def batches() -> Iterator[tuple[Any, ...]]:
        order = random.permutation(count) if shuffle else np.arange(count)
        for start in range(0, count, batch_size):
            yield rows(order[start : start + batch_size])

    def spec(array: Any) -> Any:
        return tf.TensorSpec([None] * array.ndim, array.dtype)

    signature = tf.nest.map_structure(spec, rows([0]))
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    steps = -(-count // batch_size)
    return dataset.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(1)


def label_ids(labels: Any, vocabulary: list[str] | None) -> Any:
    """Labels as int32 `(B,)`: ints stay, strings become their place in `vocabulary`.

    Raises:
        ValueError: if a string is not in the vocabulary, or there is none.
    """
    if not isinstance(labels[0], (str, bytes)):
        return np.asarray(labels, "int32")
    place = {label: i for i, label in enumerate(vocabulary or [])}
    names = [label.decode() if isinstance(label, bytes) else label for label in labels]
    for name in names:
        if name not in place:
            raise ValueError(
                f"`y`: received the label {name!r}; known labels: {list(place) or 'none'}. "
                "Call `student.set_labels([...])` with all labels first."
            )
    return np.asarray([place[name] for name in names], "int32")


def _columns(x: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
    """`x`, `y` and weights as equally long sequences; tf.data is read into memory."""
    if hasattr(x, "element_spec"):
        if y is not None or sample_weight is not None:
            raise ValueError(
                "`y`, `sample_weight`: given beside a tf.data.Dataset; "
                "the dataset must yield (text, label[, weight]) itself."
            )
        return _read(x)
    if hasattr(x, "inputs"):
        x, y = x.inputs, (x.labels if y is None else y)
    texts = [tuple(t) if isinstance(t, (list, tuple, np.ndarray)) else str(t) for t in x]
    for name, column in (("y", y), ("sample_weight", sample_weight)):
        if column is not None and len(column) != len(texts):
            raise ValueError(f"`{name}`: received {len(column)} for {len(texts)} texts in `x`.")
    return texts, y, sample_weight


def _read(dataset: Any) -> tuple[Any, Any, Any]:
    """The columns of a `tf.data.Dataset` of texts, single or in batches."""
    import tensorflow as tf

    if any(s.shape.rank for s in tf.nest.flatten(dataset.element_spec)):
        dataset = dataset.unbatch()
    decode: Callable[[Any], Any] = lambda t: t.decode()  # noqa: E731
    rows = [
        row if isinstance(row, tuple) and isinstance(dataset.element_spec, tuple) else (row,)
        for row in dataset.as_numpy_iterator()
    ]
    texts = [tuple(map(decode, r[0])) if isinstance(r[0], tuple) else decode(r[0]) for r in rows]
    labels = [r[1] for r in rows] if rows and len(rows[0]) > 1 else None
    weights = [r[2] for r in rows] if rows and len(rows[0]) > 2 else None
    return texts, labels, weights
