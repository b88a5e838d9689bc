"""Every method on trunks in half precision: float32 variables, outputs near float32's, trained."""

import traceback

import keras
import keras_hub
import numpy as np
import pytest
from families import make_tiny_backbone, sequence_output, tiny_inputs

import kzoo
from tests.conformance.test_matrix import disturb, methods

PROMPTS = ("prompt", "ptuning", "mpt")  # need virtual tokens in the inputs
FAMILIES = ["bert", "llama", "gpt2", "vit"]


def pair(family, dtype):
    """The same miniature in float32 and in `dtype`, adapted."""
    single, half = make_tiny_backbone(family), make_tiny_backbone(family, dtype=dtype)
    for own, variable in zip(half.weights, single.weights, strict=True):
        own.assign(np.asarray(variable))
        variable.assign(np.asarray(keras.ops.cast(own, "float32")))  # rounded alike
    return [(b, kzoo.adapt(b)) for b in (single, half)]


def out(backbone, inputs):
    return np.asarray(keras.ops.cast(sequence_output(backbone(inputs)), "float32"))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_method_in_bfloat16(family):
    made, inputs, wrong = pair(family, "bfloat16"), tiny_inputs(family), []
    plain = out(made[0][0], inputs)
    noise = np.abs(out(made[1][0], inputs) - plain).max()
    for name, spec in methods().items():
        if name in PROMPTS:
            continue
        try:
            found = []
            for backbone, adapters in made:
                try:
                    adapters.add("a", spec)
                except kzoo.errors.AdapterError:
                    break  # not of this family, as the matrix says
                variables = adapters.variables("a")
                kinds = {v.dtype for v in variables.values()}  # int32: places, never trained
                assert kinds <= {"float32", "int32"} and "float32" in kinds, "variables"
                # RandLoRA's bases are large; more would turn the attention of a token round.
                size = 0.1 if name == "randlora" else 0.3
                disturb((v for _, v in sorted(variables.items())), size=size)
                found.append(out(backbone, inputs))
                adapters.delete("a")
            if len(found) == 2:
                effect = np.abs(found[0] - plain).max()
                error = np.abs(found[1] - found[0]).max()
                assert error < max(0.15 * effect, 6 * noise), f"{error} of {effect}, noise {noise}"
        except Exception:
            wrong.append(f"{name}: {traceback.format_exc()[-600:]}")
            for _, adapters in made:
                if "a" in adapters:
                    adapters.delete("a")
    assert not wrong, "\n".join(wrong)


def trained(dtype, steps=300):
    keras.utils.set_random_seed(0)
    task = keras_hub.models.LlamaCausalLM(
        backbone=make_tiny_backbone("llama", dtype=dtype), preprocessor=None
    )
    kzoo.adapt(task).add("a", "lora")
    inputs = tiny_inputs("llama")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    task.compile(keras.optimizers.Adam(1e-3), loss)
    labels = np.roll(inputs["token_ids"], -1, 1)
    return task.fit(inputs, labels, epochs=steps, verbose=0).history["loss"], task


def test_steps_of_adam_are_not_lost():
    """300 small steps reach float32's loss within one per cent; slots are float32 too."""
    (single, _), (half, task) = trained("float32"), trained("bfloat16")
    assert half[0] - half[-1] > 0.2
    assert half[-1] == pytest.approx(single[-1], rel=0.01)
    slots = {v.dtype for v in task.optimizer.variables}
    assert slots == {"float32", "int64"}  # int64: counts steps


@pytest.mark.parametrize("policy", ["bfloat16", "float16"])
def test_a_whole_model_under_a_half_precision_policy(policy, tiny_classifier, reviews, tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = tiny_classifier("lora")
        history = model.fit(*reviews, epochs=6, verbose=0).history["loss"]
        assert history[-1] < history[0] and np.isfinite(history).all()
        assert {v.dtype for v in model.adapters.variables("default").values()} == {"float32"}
        outputs = model.predict(reviews[0], verbose=0)
        model.save(tmp_path / "m.keras")
    finally:
        keras.config.set_dtype_policy(before)
    loaded = kzoo.load(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded.predict(reviews[0], verbose=0), outputs, atol=1e-3)
