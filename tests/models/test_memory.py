"""A model that is deleted is gone, with what TensorFlow keeps of a training."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import ops
from tiny import NEGATIVE, POSITIVE, make_model, make_tiny_trunk

import kzoo

TEXTS, LABELS = POSITIVE + NEGATIVE, ["pos"] * 5 + ["neg"] * 5


def kept():
    """Graphs that are alive, and gradients that TensorFlow knows by name."""
    gc.collect()
    graphs = sum(type(o).__name__ == "FuncGraph" for o in gc.get_objects())
    return graphs, len(ops.gradient_registry.list())


def columns(model):
    model.fit(TEXTS, LABELS, validation_data=(TEXTS, LABELS), epochs=1, verbose=0)
    model.evaluate(TEXTS, LABELS, verbose=0)
    model.predict(TEXTS, verbose=0)


def streams(model):
    rows = tf.data.Dataset.from_tensor_slices((TEXTS, LABELS)).batch(4)
    model.fit(rows, epochs=1, verbose=0)
    model.evaluate(rows, verbose=0)


def switched(model):
    columns(model)
    model.adapters.add("b", "pfeiffer")
    columns(model)


@pytest.mark.parametrize("use", [columns, streams, switched])
def test_a_model_goes(use):
    def round_():
        trunk = make_tiny_trunk()
        model = make_model(kzoo.TextClassifier, trunk, max_tokens=32, labels=["neg", "pos"])
        model.adapters.add("a", "lora[r=2]")
        use(model)
        return weakref.ref(model), weakref.ref(model.trunk)

    round_()
    before = kept()
    references = round_()
    after = kept()  # fewer, where tests before this one had left something
    assert after[0] <= before[0] and after[1] <= before[1]
    assert [reference() for reference in references] == [None, None]


def test_keras_own_leaves_graphs_behind():
    """Why `kzoo.keras_internals.graph_freed_with` is there; where this fails, it can go."""
    before = kept()
    inputs = keras.Input((8,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    model.compile("adam", "mse")
    model.fit(np.ones((8, 8)), np.ones((8, 2)), epochs=1, verbose=0)
    del model, inputs
    after = kept()
    assert after[0] > before[0] and after[1] > before[1]


def test_iterators_hold_their_rows():
    """Rows are freed with the last thing that can ask for them, and not before."""
    model = make_model(kzoo.TextClassifier, make_tiny_trunk(), max_tokens=32, labels=["neg", "pos"])
    found = iter(model.prepare(TEXTS, LABELS, batch_size=2).map(lambda x, y: (x, y)).take(4))
    gc.collect()
    assert sum(1 for _ in found) == 4


@pytest.mark.parametrize("stream", [False, True])
def test_there_is_no_tuner_to_wait_for(tiny_classifier, reviews, monkeypatch, stream):
    """TensorFlow's sleeps for as long as it has lived, and whoever ends a pass waits for it."""
    seen = []
    for name in ("fit", "predict"):
        monkeypatch.setattr(keras.Model, name, lambda self, x, *args, **kwargs: seen.append(x))
    model = tiny_classifier(labels=["neg", "pos"])
    texts, labels = reviews
    if stream:
        model.fit(tf.data.Dataset.from_tensor_slices((texts, labels)).batch(4))
        wanted = tf.data.Options()
        wanted.autotune.enabled = True
        slices = tf.data.Dataset.from_tensor_slices((texts, labels)).with_options(wanted)
        model.fit(slices.batch(4))
        assert seen.pop().options().autotune.enabled is True  # theirs
    else:
        model.fit(texts, labels)
    assert [x.options().autotune.enabled for x in seen] == [False]
