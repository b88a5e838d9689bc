"""A trunk token by token: KerasHub's cached forward pass in two functions that are traced once.

KerasHub's own `generate` is one function of prompt, loop and sampler, so that another prompt
length, `max_new_tokens` or sampler is another trace: 20 s for a model of 30 layers. Here the
functions take any number of rows, tokens and places; what is done with the logits (rules,
sampler, stops) happens outside of them, in numpy. Lengths come in steps, so that XLA, where it is
on, compiles a few shapes only.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kzoo.adapters.acting.composition import PerRow
from kzoo.backbones.text import IntArray
from kzoo.reads.buckets import LADDER
from kzoo.training.optimizer import resolve_jit


def rounded(length: int, limit: int) -> int:
    """`length` tokens or a few more: one of a few sizes, and at most `limit`."""
    size = next((step for step in LADDER if step >= length), -(-length // 512) * 512)
    return max(length, min(size, limit))


@dataclass
class Cache:
    """Keys and values of what was read so far.

    Args:
        own: (rows, layers, 2, places, heads, size) of the tokens themselves.
        fixed: What a decoder reads of its source: states, mask, keys and values.
        adapters: int32 (rows,), the adapter of each row; -1 for none.
    """

    own: Any
    fixed: tuple[Any, ...]
    adapters: Any

    def rows(self, order: Any) -> Cache:
        """The cache of these rows, in this order; a row may come several times."""
        fixed = tuple(tf.gather(part, order) for part in self.fixed)
        return Cache(tf.gather(self.own, order), fixed, tf.gather(self.adapters, order))


class CachedDecoding:
    """KerasHub's task for a model, and its two functions; Keras tracks nothing in it.

    Args:
        model: Whose trunk decodes. Adapters act in it as they do in the model.

    Attributes:
        traces: How often Python has run through the trunk's layers, for tests and measurements.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._task: Any = None
        self.traces = 0
        self.forget()

    @property
    def task(self) -> Any:
        """The `keras_hub.models.CausalLM` or `Seq2SeqLM` around the trunk."""
        import keras_hub

        if self._task is None:
            cls = getattr(keras_hub.models, self._model.task_name)
            trainable = {id(v): v.trainable for v in self._model.backbone.weights}
            self._task = cls(backbone=self._model.backbone, preprocessor=None)
            for variable in self._model.backbone.weights:
                variable.trainable = trainable[id(variable)]
        return self._task

    def forget(self) -> None:
        """Drops the functions."""
        self._prefill: Any = None
        self._step: Any = None

    def prefill(self, inputs: dict[str, IntArray], length: int, adapters: IntArray | None) -> Cache:
        """Reads prompts, or sources and the decoder's opening.

        Args:
            inputs: The backbone's inputs, int32 (rows, tokens); padding stands behind the tokens.
            length: Places of the cache, at least the tokens.
            adapters: int32 (rows,), see `Cache`.
        """
        names = ["token_ids"]
        if "token_ids" not in inputs:
            names = ["encoder_token_ids", "encoder_padding_mask", "decoder_token_ids"]
        rows, tokens = inputs[names[-1]].shape
        own = tf.constant(np.full(rows, -1, "int32") if adapters is None else adapters)
        if self._prefill is None:
            every = [_open(own), *[tf.TensorSpec([None, None], "int32")] * len(names)]
            self._prefill = self._function(self._read, every)
        cache, fixed = self._prefill(own, *(tf.constant(inputs[name]) for name in names))
        room = [[0, length - tokens if axis == 3 else 0] for axis in range(6)]
        return Cache(tf.pad(cache, room), fixed, own)

    def step(self, ids: IntArray, place: int, cache: Cache) -> NDArray[np.float32]:
        """Logits behind one token of each row; the cache has the token then.

        Args:
            ids: int32 (rows,).
            place: Where they stand, from 0, in all rows alike.
            cache: What stands in front of them.

        Returns:
            float32 (rows, vocabulary).
        """
        given = (tf.constant(ids[:, None]), tf.constant(place), cache.adapters, cache.own)
        if self._step is None:
            every = [tf.TensorSpec([None, 1], "int32"), *map(_open, (*given[1:], *cache.fixed))]
            self._step = self._function(self._next, every)
        logits, cache.own = self._step(*given, *cache.fixed)
        return np.asarray(logits, "float32")

    # --- What is traced --------------------------------------------------------------------

    def _function(self, python: Any, signature: Any) -> Any:
        return tf.function(
            python, input_signature=signature, jit_compile=resolve_jit("auto"), autograph=False
        )

    def _running(self, adapters: Any) -> ExitStack:
        self.traces += 1
        running, trunk = ExitStack(), self._model.trunk
        if isinstance(trunk.adapters.composition, PerRow):
            running.enter_context(trunk.sites.ids.during(adapters))
        return running

    def _read(self, adapters: Any, *inputs: Any) -> tuple[Any, tuple[Any, ...]]:
        with self._running(adapters):
            if len(inputs) == 1:
                return self.task._build_cache(*inputs)[1], ()
            _, states, own, cross = self.task._build_cache(*inputs)
            return own, (states, inputs[1], cross)

    def _next(self, ids: Any, place: Any, adapters: Any, own: Any, *fixed: Any) -> Any:
        with self._running(adapters):
            if not fixed:
                logits, _, own = self.task.call_with_cache(ids, own, place)
            else:
                states, mask, cross = fixed
                logits, _, own, _ = self.task.call_decoder_with_cache(
                    states, mask, ids, own, place, cross, None
                )
            return keras.ops.cast(logits[:, -1], "float32"), own


def _open(tensor: Any) -> Any:
    """The spec of a tensor with any number of rows and, of a cache or source, of places."""
    shape = list(tensor.shape)
    if shape:
        shape[0] = None
    if len(shape) == 6:
        shape[3] = None
    elif len(shape) > 1:
        shape[1] = None
    return tf.TensorSpec(shape, tensor.dtype)
