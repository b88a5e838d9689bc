"""A training step on a batch that is too large to be held: the same gradients, chunk by chunk."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from kzoo.errors import InputError
from kzoo.keras_internals import loss_of_step, outputs_structure


def chunked_step(model: Any, data: Any, size: int) -> Any:
    """One training step that holds the activations of `size` rows at a time.

    For losses that compare the rows of a batch with one another, where adding up gradients of small
    batches is something else (GradCache, Gao et al. 2021, arXiv:2101.06983): outputs of all rows
    without activations, their gradient from the whole loss, and then each chunk once more with the
    part of the gradient that is its own. Dropout draws the same numbers both times.

    Args:
        model: A functional Keras model, compiled.
        data: As `train_step` gets it.
        size: Rows a chunk.

    Returns:
        What `train_step` returns.

    Raises:
        InputError: XLA compiles the step; chunks have different sizes.
    """
    if model.jit_compile:
        raise InputError("`chunk_size` needs a step without XLA: compile(jit_compile=False).")
    x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
    rows = tf.shape(tf.nest.flatten(x)[0])[0]
    count = -(-rows // size)
    variables = model.trainable_variables
    random = [v for v in model.non_trainable_variables if v.path.endswith("seed_generator_state")]
    before = [tf.identity(v.value) for v in random]

    def own(tensor: Any, number: Any) -> Any:
        return tensor[number * size : (number + 1) * size]

    def outputs_of(number: Any) -> list[Any]:
        chunk = tf.nest.map_structure(lambda tensor: own(tensor, number), x)
        return list(keras.tree.flatten(model(chunk, training=True)))

    def loop(body: Any, state: list[Any]) -> list[Any]:
        def step(number: Any, *state: Any) -> Any:
            return (number + 1, *body(number, state))

        going = lambda number, *_: number < count  # noqa: E731
        return list(tf.while_loop(going, step, (0, *state), parallel_iterations=1)[1:])

    arrays = [
        tf.TensorArray(t.dtype, count, infer_shape=False, element_shape=(None, *t.shape[1:]))
        for t in model.outputs
    ]
    arrays = loop(
        lambda n, made: [a.write(n, v) for a, v in zip(made, outputs_of(n), strict=True)], arrays
    )
    outputs = [array.concat() for array in arrays]
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        y_pred = keras.tree.pack_sequence_as(outputs_structure(model), outputs)
        loss = loss_of_step(model, x, y, y_pred, weights, rows)
        loss = model.optimizer.scale_loss(loss)
    of_outputs = tape.gradient(loss, outputs, unconnected_gradients="zero")
    for variable, value in zip(random, before, strict=True):
        variable.assign(value)

    def backward(number: Any, sums: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            found = outputs_of(number)
        wanted = [own(gradient, number) for gradient in of_outputs]
        parts = tape.gradient(found, variables, wanted, unconnected_gradients="zero")
        return [s + tf.convert_to_tensor(part) for s, part in zip(sums, parts, strict=True)]

    gradients = loop(backward, [tf.zeros_like(v.value) for v in variables])
    model.optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return model.compute_metrics(x, y, y_pred, sample_weight=weights)
