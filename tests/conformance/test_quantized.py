"""Adapters on int8 and int4 trunks: the effect of float32, trained, saved, or refused in words."""

import keras
import keras_hub
import numpy as np
import pytest
from families import make_tiny_backbone, sequence_output, tiny_inputs

import kzoo
from kzoo.adapters.layers.delta import Projection
from kzoo.errors import AdapterError
from tests.conformance.test_matrix import disturb, methods

PROMPTS = ("prompt", "ptuning", "mpt")  # need virtual tokens in the inputs
# Begins with factors of the weights, which differ; their product changes nothing.
FACTORS = ("olora",)


def out(backbone, inputs):
    return np.asarray(sequence_output(backbone(inputs)))


def acting(adapters, backbone, spec, inputs, name=""):
    """Outputs with an adapter."""
    adapters.add("a", spec)
    if name not in FACTORS:
        disturb(v for _, v in sorted(adapters.variables("a").items()))
    return out(backbone, inputs)


def compare(single, whole, ours, bare, quiet=False):
    """What is wrong with an adapter's effect on an int8 trunk, if anything."""
    if quiet:
        change = np.abs(ours - bare).max()
        return "" if change < 1e-4 else f"changes {change:.5f}"
    noise = np.abs(bare - whole).max()
    effect, error = np.abs(single - whole).max(), np.abs(ours - single).max()
    if error < max(0.3 * effect, 4 * noise) and np.abs(ours - bare).max() > 1e-4:
        return ""
    return f"off by {error:.3f}, effect {effect:.3f}, noise {noise:.3f}"


@pytest.mark.filterwarnings("ignore:Layer")
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_every_method_on_int8(family):
    """The effect that it has in float32."""
    inputs, wrong, trunks = tiny_inputs(family), [], []
    for mode in (None, "int8"):
        backbone = make_tiny_backbone(family)
        if mode:
            backbone.quantize(mode)
        trunks.append((kzoo.adapt(backbone), backbone, out(backbone, inputs)))
    for name, spec in methods().items():
        if name in PROMPTS:
            continue
        found = []
        try:
            for adapters, backbone, plain in trunks:
                found += [acting(adapters, backbone, spec, inputs, name), plain]
                adapters.delete("a")
        except AdapterError as error:
            if found or "needs" not in str(error):  # what float32 has not either
                wrong.append(f"{name}: {error}")
            continue
        if reason := compare(*found, quiet=name in FACTORS):
            wrong.append(f"{name}: {reason}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.filterwarnings("ignore:Layer")
@pytest.mark.parametrize("spec", ["lora", "dora", "pfeiffer", "prefix"])
def test_a_trunk_that_is_quantised_later(spec):
    """It has the effect of one that was quantised first."""
    inputs, found = tiny_inputs("bert"), []
    for first in (True, False):
        backbone = make_tiny_backbone("bert")
        adapters = kzoo.adapt(backbone)
        if first:
            backbone.quantize("int8")
        with_it = acting(adapters, backbone, spec, inputs)
        if not first:
            backbone.quantize("int8")
            with_it = out(backbone, inputs)
        adapters.deactivate()
        found.append((with_it, out(backbone, inputs)))
    (one, bare), (other, also_bare) = found
    # DoRA's magnitudes start from the weights that it finds.
    np.testing.assert_allclose(other, one, atol=2e-2 if spec == "dora" else 1e-5)
    np.testing.assert_allclose(also_bare, bare, atol=1e-6)
    assert np.abs(one - bare).max() > 1e-3


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_weights_are_what_the_integers_stand_for(mode):
    """For methods that read them: Keras' own codes and scales, by their definition."""
    layers = [keras.layers.Dense(6, activation="relu"), keras.layers.Embedding(7, 6)]
    layers.append(keras.layers.EinsumDense("abc,cde->abde", (None, 2, 3), "relu", "de"))
    for layer, shape in zip(layers, ((None, 5), (None,), (None, None, 5)), strict=True):
        layer.build(shape)
        projection = Projection(layer)
        before = np.asarray(projection.matrix())
        layer.quantize(mode)
        found = np.asarray(Projection(layer).matrix())
        rows = isinstance(layer, keras.layers.Embedding)  # a step for each row, else each column
        if mode == "int8":
            step = np.abs(before).max(1 if rows else 0, keepdims=True) / 127
            if not isinstance(layer, keras.layers.EinsumDense):  # its columns share steps
                np.testing.assert_allclose(found / step, np.round(found / step), atol=2e-2)
        else:  # with zero points, in blocks
            step = (before.max() - before.min()) / 15
        assert np.abs(found - before).max() <= 0.52 * np.max(step)


def language_model(mode=None):
    keras.utils.set_random_seed(0)
    task = keras_hub.models.LlamaCausalLM(backbone=make_tiny_backbone("llama"), preprocessor=None)
    if mode is not None:
        task.quantize(mode)
    return task


@pytest.mark.filterwarnings("ignore:Layer")
@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_lora_learns_on_a_quantised_trunk(mode, tmp_path):
    """QLoRA (Dettmers et al. 2023): frozen integers, a trained float32 adapter; saved, reloaded."""
    inputs, losses = tiny_inputs("llama"), []
    labels = np.roll(inputs["token_ids"], -1, 1)
    for quantized in (None, mode):
        task = language_model(quantized)
        adapters = kzoo.adapt(task)
        adapters.add("a", "lora")
        assert {v.dtype for v in adapters.variables("a").values()} == {"float32"}
        task.compile(keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(True))
        before = [np.asarray(v) for v in task.backbone.weights]
        losses.append(task.fit(inputs, labels, epochs=60, verbose=0).history["loss"])
        for value, variable in zip(before, task.backbone.weights, strict=True):
            np.testing.assert_array_equal(value, np.asarray(variable))
    single, ours = losses
    assert ours[-1] < 0.85 * ours[0] and ours[-1] == pytest.approx(single[-1], rel=0.1)
    expected = np.asarray(task(inputs))
    with pytest.raises(AdapterError, match=f"quantised to {mode}"):
        adapters.merge("a")
    np.testing.assert_array_equal(np.asarray(task(inputs)), expected)
    adapters.save("a", tmp_path / "a")
    again = kzoo.adapt(language_model(mode))
    again.load(tmp_path / "a")
    np.testing.assert_allclose(np.asarray(again.host.model(inputs)), expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Layer")
@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_a_whole_model_is_saved(mode, tiny_classifier, reviews, tmp_path):
    model = tiny_classifier("lora", training={"learning_rate": 3e-2})
    model.fit(*reviews, epochs=1, verbose=0)
    trained = [v.path for v in model.trainable_variables]
    model.quantize(mode)
    assert [v.path for v in model.trainable_variables] == trained
    losses = model.fit(*reviews, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    outputs = model.predict(reviews[0], verbose=0)
    model.adapters.deactivate()
    assert np.abs(model.predict(reviews[0], verbose=0) - outputs).max() > 1e-3
    model.adapters.activate("default")
    model.save(tmp_path / "m.keras")
    loaded = kzoo.load(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded.predict(reviews[0], verbose=0), outputs, atol=1e-5)
    loaded.fit(*reviews, epochs=1, verbose=0)


@pytest.mark.filterwarnings("ignore:Layer")
def test_a_merged_adapter_stays_in_what_is_quantised(tiny_classifier, reviews, tmp_path):
    texts = reviews[0][:10]
    model = tiny_classifier("lora", num_classes=2)
    disturb(model.adapters.variables("default").values())
    expected = model.predict(texts, verbose=0)
    model.adapters.merge("default")
    model.quantize("int8")
    found = model.predict(texts, verbose=0)
    assert 0 < np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
    with pytest.raises(AdapterError, match="merged before the trunk was quantised"):
        model.adapters.unmerge("default")
    np.testing.assert_array_equal(model.predict(texts, verbose=0), found)
    with pytest.raises(kzoo.errors.WeightsError, match="quantised to int8"):
        kzoo.save_hf(model, tmp_path / "hf")
    assert not (tmp_path / "hf").exists()


@pytest.mark.filterwarnings("ignore:Layer")
def test_generation_follows():
    """A generator that has written before writes what its integers say."""
    from tests.models.test_generator import PAIRS, make_generator

    prompts, written, one = [prompt for prompt, _ in PAIRS[:2]], [], make_generator(adapter="lora")
    for first in (False, True):
        model = make_generator(adapter="lora")
        disturb(model.adapters.variables("default").values())
        if not first:
            model.generate(prompts, max_new_tokens=6)
        model.quantize("int8")
        written.append(
            (model.generate(prompts, max_new_tokens=6), model.score(prompts, [["a"]] * 2))
        )
    (texts, scores), (other_texts, other_scores) = written
    assert texts == other_texts
    np.testing.assert_allclose(scores, other_scores, rtol=1e-5)
    disturb(one.adapters.variables("default").values())
    assert not np.array_equal(scores, one.score(prompts, [["a"]] * 2))
