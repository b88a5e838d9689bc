"""Trains the same things on one device and on two logical ones, and prints how they differ.

A process of its own, because logical devices have to be set before TensorFlow starts; run by
`test_strategy.py`. Models are made in a
strategy's scope and used outside of it, as Keras documents it. Prints one JSON object: name of the
check -> largest relative difference, or the error.
"""

import json
import sys
import tempfile
import traceback
from contextlib import nullcontext
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from distillation_toys import cross_entropy, data, dense
from runs_toys import write_dataset, write_recipe, write_trunk
from test_heads_matrix import KINDS
from test_heads_matrix import make as make_head
from tiny import NEGATIVE, POSITIVE, make_model, make_tiny_trunk

import kzoo
from kzoo import runs
from kzoo.adapters import RankAllocator
from kzoo.models.classifier import TextClassifier

TEXTS, LABELS = (POSITIVE + NEGATIVE) * 4, (["pos"] * 5 + ["neg"] * 5) * 4
CHECKS = {}


def check(function):
    CHECKS[function.__name__] = function
    return function


def make(spec=None, head=None, **more):
    trunk = make_tiny_trunk(0, 2, 0.0)
    head = {"dropout": 0, **(head or {})}
    model = make_model(TextClassifier, trunk, recipe="tiny", max_tokens=32, head=head)
    for name, adapter in {**({"a": spec} if spec else {}), **more}.items():
        model.adapters.add(name, adapter)
    return model


def train(model, texts=TEXTS, labels=LABELS, **options):
    options = {"epochs": 2, "batch_size": 8, "shuffle": False, "verbose": 0, **options}
    return model.fit(texts, labels, **options).history["loss"]


def outcome(model, *histories):
    scores = model.evaluate(TEXTS, LABELS, verbose=0)
    return [*histories, scores, model.predict(TEXTS, verbose=0)]


@check
def recipe_defaults(scope):
    """String labels, classes that `fit` counts, the recipe's optimizer and schedule."""
    with scope():
        model = make("lora")
    return outcome(model, train(model, shuffle=True))


@check
def trunk(scope):
    with scope():
        model = make()
        model.unfreeze_trunk()
        model.compile(keras.optimizers.SGD(0.1))
    return outcome(model, train(model))


@check
def methods(scope):
    found = []
    for spec in ["pfeiffer", "prompt", "unipelt", "vera"]:
        with scope():
            model = make(spec)
        found += outcome(model, train(model, epochs=1))
    return found


@check
def management(scope):
    """Adapters that come, go, merge and are read after the scope was left."""
    with scope():
        model = make("lora")
    first = train(model)
    model.adapters.add("b", "pfeiffer")
    second = train(model)
    model.adapters.merge("a")
    merged = model.predict(TEXTS, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        model.adapters.save("b", f"{folder}/b")
        model.adapters.load(f"{folder}/b", "c")
        loaded = model.predict(TEXTS, verbose=0)
        model.save(f"{folder}/m.keras")
        with scope():
            again = keras.saving.load_model(f"{folder}/m.keras")
        np.testing.assert_allclose(again.predict(TEXTS, verbose=0), loaded, atol=1e-5)
        third = train(again)
    model.adapters.activate("b")
    model.adapters.unmerge("a")
    return [first, second, merged, loaded, third, *outcome(model)]


@check
def rows(scope):
    """Compositions in which each row has adapters of its own."""
    with scope():
        # Each adapter has a head of its own; those that see no data have to know the classes.
        names = {"labels": ["neg", "pos"]}
        model = make("lora[r=2]", names, b="lora[r=2]", c="pfeiffer")
    found = [train(model, epochs=1)]
    rng = np.random.default_rng(0)
    for name in "abc":
        for variable in model.adapters.variables(name).values():
            variable.assign(np.asarray(variable) + rng.normal(0, 0.1, variable.shape))
    for children in ("ab", "ac"):
        model.adapters.activate(kzoo.PerRow(*children))
        names = [*children, "__base__", children[0]] * 10
        found.append(model.predict(TEXTS, adapter_names=names, verbose=0))
        found.append(train(model, adapter_names=names, epochs=1))
    model.adapters.activate(kzoo.Parallel("a", "c"))
    return [*found, model.predict(TEXTS, verbose=0)]


@check
def rank_allocator(scope):
    with scope():
        model = make("adalora[init_r=4,target_r=2,tinit=1,tfinal=3,delta_t=2]")
        model.compile(keras.optimizers.SGD(0.5))
    allocator, scores = RankAllocator(), []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: scores.append(allocator.scores() * 1e6)
    )
    losses = train(model, callbacks=[allocator, watch])
    masks = [layer.rank_mask for _, layer in model.trunk.sites.layers("a")]
    assert sum(np.asarray(mask).sum() for mask in masks) == 2 * len(masks)
    return [*outcome(model, losses), np.array(scores), *masks]


@check
def keras_hub_model(scope):
    with scope():
        backbone = make_tiny_trunk(0, 2, 0.0).backbone
        outputs = keras.layers.Dense(2, kernel_initializer="ones")(backbone.output["pooled_output"])
        model = keras.Model(backbone.input, outputs)
        model.backbone = backbone
        model.compile(keras.optimizers.SGD(0.1), "mse")
    kzoo.adapt(model).add("a", "lora")
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 90, (16, 6)).astype("int32")
    x = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}
    fit = model.fit(x, rng.normal(size=(16, 2)), batch_size=8, shuffle=False, verbose=0)
    return [fit.history["loss"], model.predict(x, verbose=0)]


@check
def generator(scope):
    from tests.models.test_generator import PAIRS, make_generator

    return _generation(scope, make_generator, PAIRS[:2])


@check
def seq2seq(scope):
    from tests.models.test_seq2seq import PAIRS, make_generator

    return _generation(scope, make_generator, PAIRS[:2])


def _generation(scope, make_generator, pairs):
    with scope():
        model = make_generator(adapter="lora")
    fit = model.fit(pairs * 8, epochs=2, batch_size=8, verbose=0)
    written = model.generate([first for first, _ in pairs], max_new_tokens=4)
    return [*fit.history.values(), [ord(letter) for letter in "|".join(written)]]


# Their losses divide by what a replica alone does not know, or compare rows of all replicas.
COUNTING = ("tag", "ordinal", "rank", "contrast", "masked_lm")


@check
def counting_heads(scope):
    return heads(COUNTING, scope)


@check
def other_heads(scope):
    return heads([kind for kind in KINDS if kind not in COUNTING], scope)


def heads(kinds, scope):
    """Heads whose rows have labels or read their own, as the conformance matrix has them."""
    found = []
    for kind in kinds:
        with scope():
            model, rows, labels = make_head(kind)
            # Adam would make steps of the noise in gradients that are 0.
            model.compile(keras.optimizers.SGD(0.1))
        options = {"epochs": 2, "batch_size": 4, "shuffle": False, "verbose": 0}
        found.append(model.fit(rows, labels, **options).history["loss"])
        found.append(list(model.evaluate(rows, labels, verbose=0, return_dict=True).values()))
        found.append(model.predict(rows, verbose=0))
    return found


@check
def distiller(scope):
    x, y, w = data(32)
    with scope():
        losses = [kzoo.distillation.SoftTargetKL(), kzoo.distillation.HiddenMSE("hidden", "hidden")]
        distiller = kzoo.Distiller(dense(8, "t", 1), dense(4, "s", 2, l2=0.1), losses)
        distiller.compile(keras.optimizers.SGD(0.1), cross_entropy(), jit_compile=False)
    options = {"sample_weight": w, "epochs": 2, "batch_size": 16, "shuffle": False, "verbose": 0}
    return list(distiller.fit(x, y, **options).history.values())


@check
def distiller_on_text(scope):
    with scope():
        teacher, student = make(), make("lora")
        teacher.set_labels(["neg", "pos"])
        distiller = kzoo.Distiller(teacher, student)
    return [train(distiller, shuffle=True), student.predict(TEXTS, verbose=0)]


@check
def whole_run(scope):
    """A run folder, interrupted and gone on with: its metrics, its test scores."""

    def interrupt(epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt

    stop = keras.callbacks.LambdaCallback(on_epoch_begin=interrupt)
    with tempfile.TemporaryDirectory() as name, scope():
        folder = Path(name)
        more = {"adapters": "lora", "head": {"kind": "classify", "dropout": 0}}
        recipe = write_recipe(folder / "recipe.yaml", write_trunk(folder / "trunk"), **more)
        data, out = write_dataset(folder / "data"), folder / "run"
        try:
            runs.train(recipe, data, out, runs.TrainOptions(epochs=2), callbacks=[stop])
        except KeyboardInterrupt:
            report = runs.train(recipe, data, out, runs.TrainOptions(resume=True))
        history = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in history] == [1, 2]
    losses = [[row["loss"], row["val_loss"]] for row in history]
    return [*losses, [report["scores"]["test"][key] for key in ("loss", "macro_f1")]]


def difference(one, two):
    """The largest relative difference of two lists of arrays."""
    pairs = [
        (np.asarray(a, "float64"), np.asarray(b, "float64")) for a, b in zip(one, two, strict=True)
    ]
    for a, b in pairs:
        assert np.isfinite(a).all() and a.shape == b.shape, (a.shape, b.shape)
    return max(float((np.abs(a - b) / (np.abs(a) + 1e-2)).max()) for a, b in pairs)


def run(function, scope):
    keras.utils.set_random_seed(0)
    return function(scope)


if __name__ == "__main__":
    devices = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
    # One strategy: its successor would reuse the numbers of its collective operations.
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    report = {}
    for name in sys.argv[1:] or CHECKS:
        try:
            one, two = run(CHECKS[name], nullcontext), run(CHECKS[name], strategy.scope)
            report[name] = difference(one, two)
        except Exception:
            report[name] = traceback.format_exc()[-2500:]
    print(json.dumps(report))
