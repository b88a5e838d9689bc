"""Composed models, built, trained, saved and loaded; run in a process of its own for each mode.

Usage: python composed.py MODE FOLDER    prints one line of JSON with what was found.
       python composed.py again FOLDER   loads what an earlier process has saved.
"""

import contextlib
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras
import numpy as np
import tensorflow as tf
from tiny import NEGATIVE, POSITIVE, make_tiny_trunk

import kzoo

TEXTS = (POSITIVE + NEGATIVE) * 4
TOPICS = (["pos"] * 5 + ["neg"] * 5) * 4
RNG = np.random.default_rng(0)
PRICES = RNG.normal(100.0, 25.0, len(TEXTS))
SCORES = [float(len(text)) for text in TEXTS]
# Rows with different numbers of passages, some without any.
PASSAGES = [RNG.normal(size=(n % 4, 12)).astype("float32") for n in range(len(TEXTS))]


def knowledge():
    """The composed snippet of the design, with an array of passages."""
    trunk = kzoo.Trunk(make_tiny_trunk(), max_tokens=32)
    trunk.adapters.add("task", "pfeiffer[reduction_factor=4]|lora[r=2]")
    text = kzoo.TextInput(trunk, name="text")
    passages = kzoo.ArrayInput((None, 12), name="passages")
    mixed = kzoo.fusion.GatedCrossAttention(num_heads=4)(trunk(text), passages)
    model = kzoo.Model([text, passages], kzoo.heads.Classify(name="topic")(mixed))
    return model, {"text": TEXTS, "passages": PASSAGES}, {"topic": TOPICS}


def two_trunks():
    """Two different trunks, a numeric column, two heads."""
    first = kzoo.Trunk(make_tiny_trunk(1), max_tokens=32, name="first")
    second = kzoo.Trunk(make_tiny_trunk(2, num_layers=1), max_tokens=16, name="second")
    first.adapters.add("a", "lora[r=2]")
    second.adapters.add("b", "pfeiffer[reduction_factor=4]")
    title = kzoo.TextInput(first, name="title")
    body = kzoo.TextInput(second, name="body")
    price = keras.Input((1,), name="price")
    vectors = [kzoo.heads.Embed(name="title_vector")(first(title))]
    vectors.append(kzoo.heads.Embed(name="body_vector", pooling="cls")(second(body)))
    scaled = keras.layers.Rescaling(0.01)(price)
    both = keras.layers.Concatenate()([*vectors, scaled])
    outputs = {
        "topic": kzoo.heads.Classify(name="topic")(both),
        "score": kzoo.heads.Regress(name="score", loss_weight=0.5)(both),
    }
    model = kzoo.Model({"title": title, "body": body, "price": price}, outputs)
    columns = {"title": TEXTS, "body": TEXTS[::-1], "price": PRICES}
    return model, columns, {"topic": TOPICS, "score": SCORES}


MODELS = {"knowledge": knowledge, "two_trunks": two_trunks}


def run(mode, name, folder, strategy):
    with contextlib.nullcontext() if strategy is None else strategy.scope():
        model, columns, labels = MODELS[name]()
    before = {id(v): np.asarray(v, "float32") for v in model.weights}
    model.compile(learning_rate=0.03, jit_compile=mode == "jit")
    history = model.fit(columns, labels, epochs=3, batch_size=8, verbose=0).history
    managers = [trunk.adapters for trunk in model.trunks.values()]
    adapters = [v for own in managers for v in own.variables(own.active[0]).values()]
    trained = model.trainable_variables
    moved = [v.path for v in trained if (np.asarray(v, "float32") != before[id(v)]).any()]
    backbone = [v for trunk in model.trunks.values() for v in trunk.trunk_variables]
    predicted = model.predict(columns, verbose=0)
    model.save(folder / f"{name}.keras")
    flat = model.by_output(predicted)
    np.savez(folder / f"{name}.npz", **{key: np.asarray(v) for key, v in flat.items()})
    return {
        "losses": history["loss"],
        "adapter_variables": len(adapters),
        "trained": len(trained),
        "moved": len(moved),
        "trunks_equal": all((np.asarray(v, "float32") == before[id(v)]).all() for v in backbone),
        "history": sorted(history),
        "evaluated": model.evaluate(columns, labels, verbose=0, return_dict=True),
    }


def again(name, folder):
    """Load by plain Keras, compare, go on."""
    model = keras.models.load_model(folder / f"{name}.keras")
    _, columns, labels = MODELS[name]()
    found = model.by_output(model.predict(columns, verbose=0))
    with np.load(folder / f"{name}.npz") as saved:
        off = max(float(np.abs(saved[key] - found[key]).max()) for key in saved.files)
    steps = int(np.asarray(model.optimizer.iterations))
    losses = model.fit(columns, labels, epochs=1, batch_size=8, verbose=0).history["loss"]
    return {
        "class": type(model).__name__,
        "off": off,
        "steps": [steps, int(np.asarray(model.optimizer.iterations))],
        "losses": losses,
        "decoded": str(model.decode(model.predict(columns, verbose=0)))[:60],
    }


if __name__ == "__main__":
    mode, folder, strategy = sys.argv[1], Path(sys.argv[2]), None
    if mode == "mixed_bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    if mode == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        both = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, both)
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    found = {}
    for name in MODELS:
        made = {} if mode == "again" else run(mode, name, folder, strategy)
        # Another process loads what a plain one has saved; elsewhere this one does.
        loaded = {} if mode == "plain" else again(name, folder)
        found[name] = {"made": made, "loaded": loaded}
    print(json.dumps(found))
