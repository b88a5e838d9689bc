"""Adapters act in KerasHub's cached decoding as in the plain forward pass."""

import keras
import keras_hub
import numpy as np
import pytest

import kzoo
from tests.families import make_tiny_backbone

# The other decoders run in tests/conformance/test_matrix.py, eagerly; here decoding is compiled.
TASKS = {"gpt2": "GPT2CausalLM", "qwen3": "Qwen3CausalLM"}
METHODS = [
    "lora[targets=[query, value, attention_output, ffn_intermediate, ffn_output]]",
    "houlsby[reduction_factor=4]",
]


def greedy(task, ids, steps):
    """Without a cache: one whole forward pass a token."""
    ids = ids.copy()
    for _ in range(steps):
        inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
        logits = np.asarray(task(inputs))[:, -1]
        ids = np.concatenate([ids, logits.argmax(-1)[:, None].astype("int32")], axis=1)
    return ids


@pytest.mark.parametrize("family", TASKS)
def test_cached_and_plain_decoding_agree(family):
    backbone = make_tiny_backbone(family)
    task = getattr(keras_hub.models, TASKS[family])(backbone=backbone, preprocessor=None)
    task.compile(sampler="greedy")
    prompt = np.random.default_rng(0).integers(4, 60, (2, 3)).astype("int32")
    batch = {
        "token_ids": np.pad(prompt, ((0, 0), (0, 5))),
        "padding_mask": np.pad(np.ones_like(prompt), ((0, 0), (0, 5))),
    }
    plain = np.asarray(task.generate(batch, stop_token_ids=None)["token_ids"])
    np.testing.assert_array_equal(plain, greedy(task, prompt, 5))
    adapters = kzoo.adapt(task)
    seen = [plain]
    for number, method in enumerate(METHODS):
        name = f"m{number}"
        adapters.add(name, method)
        rng = np.random.default_rng(number)
        for variable in adapters.variables(name).values():
            variable.assign(rng.normal(0, 0.5, variable.shape))
        found = np.asarray(task.generate(batch, stop_token_ids=None)["token_ids"])
        np.testing.assert_array_equal(found, greedy(task, prompt, 5))
        seen.append(found)
    assert len({array.tobytes() for array in seen}) > 1  # the adapters act
    adapters.deactivate()
    again = np.asarray(task.generate(batch, stop_token_ids=None)["token_ids"])
    np.testing.assert_array_equal(again, plain)


def test_a_task_trains_its_head_and_its_adapters_only():
    backbone = make_tiny_backbone("roberta")
    task = keras_hub.models.RobertaTextClassifier(
        backbone=backbone, num_classes=2, preprocessor=None
    )
    head = {id(v) for v in task.weights} - {id(v) for v in backbone.weights}
    adapters = kzoo.adapt(task)
    adapters.add("a", "lora")
    own = {id(v) for v in adapters.variables("a").values()}
    assert {id(v) for v in task.trainable_variables} == head | own
    assert isinstance(task, keras.Model)
