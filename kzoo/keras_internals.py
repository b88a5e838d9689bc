"""Everything that kzoo does with names that Keras does not promise to keep.

Each function says why it is needed; whoever moves to a new Keras looks here first.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import keras
import numpy as np

FUNCTIONS = ("train", "test", "predict")


@contextmanager
def unlocked(layer: Any) -> Iterator[None]:
    """Lets a built layer grow or lose parts, as Keras itself does in `enable_lora`.

    Args:
        layer: A Keras layer; its tracker is open inside of the context.
    """
    tracker = layer._tracker
    was_locked = tracker.locked
    tracker.unlock()
    try:
        yield
    finally:
        if was_locked:
            tracker.lock()


def untrack(layer: Any, part: Any) -> None:
    """Makes a layer forget a variable or a sublayer; to be used while it is `unlocked`."""
    layer._tracker.untrack(part)


def trained_variables(layer: Any) -> list[Any]:
    """The variables that a layer was made to train, without those of its parts, frozen or not."""
    return list(layer._trainable_variables)


def own_variables(layer: Any) -> list[Any]:
    """The variables that a layer has itself, without those of its parts."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def parts(layer: Any) -> list[Any]:
    """The layers that a layer holds itself."""
    return list(layer._layers)


def every_layer(layer: Any) -> list[Any]:
    """A layer and all layers inside of it, however deep, each once."""
    return list({id(part): part for part in layer._flatten_layers()}.values())


def inner_layers(layer: Any) -> list[Any]:
    """All layers inside of a layer, however deep, each once."""
    return every_layer(layer)[1:]


def set_attention_dropout(attention: Any, rate: float) -> None:
    """Changes the dropout of attention weights in a built `keras.layers.MultiHeadAttention`.

    Beside its `Dropout` layer it keeps the rate, by which it chooses between two implementations.

    Args:
        attention: The layer, or KerasHub's with a cache.
        rate: The new rate.
    """
    attention._dropout = rate


def has_window(attention: Any) -> bool:
    """Whether an attention layer of KerasHub's knows sliding windows, used or not."""
    return hasattr(attention, "_mask_sliding_window")


def autocast(layer: Any) -> AbstractContextManager[Any]:
    """Where a half-precision layer runs: float32 variables are read in its compute dtype.

    Keras opens such a scope around layers whose own variables have another dtype; the adapters of a
    layer with bfloat16 variables have float32 ones.
    """
    from keras.src.backend.common.variables import AutocastScope

    if layer is None or layer.variable_dtype == "float32":
        return nullcontext()
    return AutocastScope(layer.compute_dtype)  # type: ignore[no-any-return]


def is_quantized(layer: Any) -> bool:
    """Whether a layer's weights are int8 or int4 (`quantize`); Keras calls another method of it."""
    return getattr(layer, "quantization_mode", None) is not None


def floating_matrix(layer: Any, in_shape: tuple[int, ...] = (), **kwargs: Any) -> Any:
    """What the integers of a quantised layer stand for: its own answers to rows of ones and zeros.

    That is exact in any mode (a 1 is a whole number of steps), and the float copy lives no longer
    than it is used. QLoRA (Dettmers et al. 2023) and PEFT's DoRA read weights in this way too.

    Args:
        layer: A Dense or EinsumDense, or an Embedding.
        in_shape: The contracted axes; an embedding has none.
        **kwargs: Of the layer's call, such as `reverse`.

    Returns:
        A tensor (in, *out).
    """
    if not in_shape:
        return type(layer).quantized_call(layer, np.arange(layer.input_dim, dtype="int32"))
    # A layer of the same variables without what comes after them; other threads may run this one.
    bare = object.__new__(type(layer))
    vars(bare).update(vars(layer), bias=None, activation=None, logit_soft_cap=None)
    size = math.prod(in_shape)
    rank = len(getattr(layer, "equation", "ab").split(",")[0])
    lead = (1,) * (rank - len(in_shape) - 1)  # an EinsumDense wants all of its axes
    ones = keras.ops.eye(size, dtype=layer.compute_dtype)
    rows = keras.ops.reshape(ones, (*lead, size, *in_shape))
    answers = type(layer).quantized_call(bare, rows, **kwargs)
    return keras.ops.stop_gradient(keras.ops.reshape(answers, answers.shape[len(lead) :]))


def give_gradient_when_quantized(embedding: Any) -> None:
    """Lets a tied embedding that runs backwards pass gradients on when it is quantised.

    Keras has a gradient for its quantised dense layers, and none for this product, whose inputs
    are rounded: below it a language model would learn nothing. Rounding passes gradients on as it
    does in Keras' dense layers (the straight-through estimator, Bengio et al. 2013).

    Args:
        embedding: A ReversibleEmbedding. What it computes stays as it is.
    """
    if "quantized_call" in vars(embedding):  # done before
        return
    run = embedding.quantized_call

    def quantized_call(inputs: Any, reverse: bool = False) -> Any:
        if not reverse:
            return run(inputs)
        cap = embedding.logit_soft_cap

        @keras.ops.custom_gradient  # type: ignore[untyped-decorator]
        def backwards(x: Any) -> tuple[Any, Any]:
            logits = run(x, reverse=True)

            def gradient(*ups: Any, upstream: Any = None) -> Any:
                up = ups[0] if upstream is None else upstream
                if cap is not None:
                    up = up * (1 - keras.ops.square(logits / cap))
                matrix = floating_matrix(embedding, (embedding.output_dim,), reverse=True)
                return keras.ops.matmul(up, keras.ops.transpose(matrix))

            return logits, gradient

        return backwards(inputs)

    embedding.quantized_call = quantized_call


def windowed_mask(attention: Any, mask: Any, start: Any) -> Any:
    """A mask with the sliding window in it that the layer would apply itself.

    Args:
        attention: A layer of KerasHub's that `has_window`.
        mask: (batch, queries, keys).
        start: Position of the first query.

    Returns:
        The mask.
    """
    return attention._mask_sliding_window(mask, cache_update_index=start)


def change_shape(tensor: Any, shape: Sequence[int | None]) -> None:
    """Gives a symbolic output another shape: a head whose classes became known is resized.

    Args:
        tensor: A KerasTensor at the end of a graph.
        shape: The new one.
    """
    tensor._shape = tuple(shape)


def history(tensor: Any) -> tuple[Any, int] | None:
    """The operation that made a symbolic tensor, and which of its calls; None for another value."""
    found = getattr(tensor, "_keras_history", None)
    return None if found is None else (found.operation, found.node_index)


def inputs_of_call(operation: Any, node_index: int) -> list[Any]:
    """The symbolic tensors that one call of an operation took."""
    return list(operation._inbound_nodes[node_index].input_tensors)


def tensors_taken(operation: Any) -> list[Any]:
    """The symbolic tensors that all calls of an operation took."""
    return [tensor for node in operation._inbound_nodes for tensor in node.input_tensors]


def operations_before(x: Any) -> Iterator[Any]:
    """The operations that symbolic values depend on, each once for each of its calls."""
    seen: set[tuple[int, int]] = set()
    todo = [made for leaf in keras.tree.flatten(x) if (made := history(leaf)) is not None]
    while todo:
        operation, index = todo.pop()
        if (id(operation), index) in seen:
            continue
        seen.add((id(operation), index))
        yield operation
        todo += [
            made
            for tensor in inputs_of_call(operation, index)
            if (made := history(tensor)) is not None
        ]


def outputs_structure(model: Any) -> Any:
    """The symbolic outputs of a functional model as they were given: a tensor, dict or list."""
    return model._outputs_struct


def runs_backwards(embedding: Any) -> bool:
    """Whether some graph takes an embedding's table as output matrix too (`reverse=True`)."""
    calls = (node.arguments for node in getattr(embedding, "_inbound_nodes", ()))
    return any(call.kwargs.get("reverse") or True in call.args[1:] for call in calls)


def carried_mask(tensor: Any) -> Any:
    """The mask that Keras' layers have put on a tensor, or None."""
    return getattr(tensor, "_keras_mask", None)


def forget_metric(model: Any, metric: Any) -> None:
    """Lets a model no longer report a metric that it tracks."""
    model._metrics.remove(metric)


def compiled_loss(model: Any) -> Any:
    """The loss that a model was compiled with, as a function of (y, y_pred, sample_weight)."""
    return model._compile_loss


def loss_of_step(model: Any, x: Any, y: Any, y_pred: Any, weights: Any, rows: Any) -> Any:
    """The loss of a training step as Keras' own step computes it, noted for the progress bar."""
    from keras.src.losses.loss import unscale_loss_for_distribution

    loss = model._compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=weights, training=True)
    model._loss_tracker.update_state(unscale_loss_for_distribution(loss), sample_weight=rows)
    return loss


def graph_freed_with(model: Any) -> None:
    """Frees the graph that is being traced, the inner one of a step, when the model dies.

    In plain Keras too each model that was fitted leaves it behind, 20 MB of a tiny one: the sum of
    gradients over replicas has a gradient of its own, which TensorFlow keeps by name for ever, and
    with it the graph; and the graph of a function that another one calls is a cycle that no garbage
    collector sees through.
    """
    from tensorflow.python.framework import func_graph, ops

    graph = ops.get_default_graph()
    if not isinstance(graph, func_graph.FuncGraph):
        return

    def free() -> None:
        for operation in graph.get_operations():
            if "_gradient_op_type" in operation.node_def.attr:
                name = operation.get_attr("_gradient_op_type").decode()
                ops.gradient_registry._registry.pop(name, None)
        func_graph.dismantle_func_graph(graph)

    weakref.finalize(model, free).atexit = False


def additional_loss(model: Any, loss: Any) -> Any:
    """A regularisation loss as Keras adds it, one part for each replica."""
    return model._aggregate_additional_loss(loss)


def renew_functions(model: Any) -> None:
    """Replaces the compiled functions of a model, which answer for the graph as it was.

    They are made anew and not only dropped: a running `fit` calls its function without asking
    for it again.
    """
    for name in FUNCTIONS:
        if getattr(model, f"{name}_function", None) is not None:
            getattr(model, f"make_{name}_function")(force=True)
    if getattr(model, "generate_function", None) is not None:  # KerasHub makes it where it is None
        model.generate_function = None


def carried_optimizer(optimizer: Any, variables: Sequence[Any]) -> Any:
    """An optimizer of the same kind for other variables, with the state of those that stay.

    Keras fixes an optimizer's variables when it is built, and refuses others afterwards.

    Args:
        optimizer: A built Keras optimizer, a `LossScaleOptimizer` included.
        variables: What is trained from now on.

    Returns:
        A built optimizer: step count, learning rate and the slots of the variables that it had.
    """
    fresh = type(optimizer).from_config(optimizer.get_config())
    fresh.build(list(variables))
    _carry(optimizer, fresh)
    return fresh


def trained_by(optimizer: Any) -> list[Any] | None:
    """The variables that an optimizer was built for, None while it is not built."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return list(inner._trainable_variables) if inner.built else None


def _carry(old: Any, new: Any) -> None:
    if hasattr(old, "inner_optimizer"):
        _carry(old.inner_optimizer, new.inner_optimizer)
    before = {id(v): place for place, v in enumerate(old._trainable_variables)}
    kept = [(place, before.get(id(v))) for place, v in enumerate(new._trainable_variables)]
    for name, value in vars(old).items():
        mine = vars(new).get(name)
        if name.startswith("_exclude_from_weight_decay") and not name.endswith("cache"):
            setattr(new, name, value)
        elif isinstance(value, keras.Variable) and isinstance(mine, keras.Variable):
            mine.assign(value)
        elif _slots(value, len(before)) and _slots(mine, len(kept)):
            for place, earlier in kept:
                if earlier is not None and mine[place] is not None:
                    mine[place].assign(value[earlier])


def _slots(value: Any, count: int) -> bool:
    """Whether an optimizer's attribute has one variable for each that is trained."""
    return (
        isinstance(value, list)
        and len(value) == count > 0
        and all(v is None or isinstance(v, keras.Variable) for v in value)
        and not any(v is not None and v.trainable for v in value)
    )


def is_batched(dataset: Any) -> bool | None:
    """Whether an element of a `tf.data.Dataset` is a batch; None where that cannot be seen."""
    kept = ("Prefetch", "Cache", "Memory", "Repeat", "Take", "Skip", "Shuffle", "Options", "Shard")
    while True:
        name = type(dataset).__name__
        if "Batch" in name or "TensorSlice" in name:
            return "Batch" in name and "Unbatch" not in name
        if not any(word in name for word in kept):
            return None
        (dataset,) = dataset._inputs()
