"""A .keras file alone brings back predictions, in a new process, and training goes on."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

import kzoo
from kzoo.errors import InputError, RecipeError

TEXTS = ["good film", "a bad and awful cat", "", "xyz"]


@pytest.mark.parametrize("adapter", ["pfeiffer", "houlsby", "lora", None])
@pytest.mark.parametrize("trunk", ["frozen", "trainable"])
def test_round_trip(adapter, trunk, tiny_classifier, reviews, tmp_path):
    model = tiny_classifier(adapter, trunk=trunk, seed=5)
    model.fit(*reviews, epochs=1, verbose=0)
    path = tmp_path / "model.keras"
    model.save(path)
    again = kzoo.load(path)
    x = model.text.encode(TEXTS)
    np.testing.assert_array_equal(np.asarray(again(x)), np.asarray(model(x)))
    assert again.labels == model.labels
    assert again.training_settings == model.training_settings
    assert again.head.get_config() == model.head.get_config()
    assert again.trunk.frozen == model.trunk.frozen
    assert again.adapters.configs == model.adapters.configs
    assert again.adapters.active == model.adapters.active
    assert [v.path for v in again.trainable_variables] == [
        v.path for v in model.trainable_variables
    ]
    # The optimizer's state came along, so that both go on in the same way.
    losses = [m.fit(*reviews, epochs=1, verbose=0).history["loss"] for m in (model, again)]
    assert int(again.optimizer.iterations) == 4
    assert np.isfinite(losses).all()


def test_training_continues_exactly_without_dropout(tiny_classifier, reviews, tmp_path):
    model = tiny_classifier("lora", head={"dropout": 0.0})
    model.fit(*reviews, epochs=1, verbose=0, shuffle=False)
    model.save(tmp_path / "m.keras")
    again = kzoo.load(tmp_path / "m.keras")
    losses = [
        m.fit(*reviews, epochs=2, verbose=0, shuffle=False).history["loss"] for m in (model, again)
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)
    fresh = tiny_classifier("lora", head={"dropout": 0.0})
    assert fresh.fit(*reviews, epochs=2, verbose=0, shuffle=False).history["loss"] != losses[1]


def test_identical_predictions_in_a_new_process(tiny_classifier, reviews, tmp_path):
    model = tiny_classifier("houlsby")
    model.fit(*reviews, epochs=1, verbose=0)
    model.adapters.add("second", "lora", activate=False)
    path = tmp_path / "model.keras"
    model.save(path)
    model.trunk.adapters_changed()  # fresh functions here too: TF specialises on the first shape
    expected = model.predict(TEXTS, verbose=0)
    script = (
        "import sys, json, kzoo\n"
        "model = kzoo.load(sys.argv[1])\n"
        "logits = model.predict(json.loads(sys.argv[2]), verbose=0)\n"
        "label = model.predict_labels(['good'], verbose=0)\n"
        "print(json.dumps([logits.astype(float).tolist(), label, list(model.adapters)]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path), json.dumps(TEXTS)],
        capture_output=True,
        text=True,
        check=True,
    )
    logits, label, adapters = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_array_equal(np.array(logits, "float32"), expected)
    assert label[0] in ("pos", "neg")
    assert adapters == ["default", "second"]


def test_weights_file_round_trip(tiny_classifier, reviews, tmp_path):
    model = tiny_classifier("lora", labels=("neg", "pos"))
    model.fit(*reviews, epochs=1, verbose=0)
    model.save_weights(tmp_path / "m.weights.h5")
    other = tiny_classifier("lora", labels=("neg", "pos"), seed=9)
    other.load_weights(tmp_path / "m.weights.h5")
    x = model.text.encode(TEXTS)
    np.testing.assert_array_equal(np.asarray(other(x)), np.asarray(model(x)))


def test_encoder_round_trip(tmp_path):
    from tiny import make_model, make_tiny_trunk

    model = make_model(kzoo.TextEncoder, make_tiny_trunk(), recipe="tiny", max_tokens=16)
    vectors = model.encode(TEXTS)
    assert vectors.shape == (4, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    model.save(tmp_path / "e.keras")
    again = kzoo.load(tmp_path / "e.keras")
    np.testing.assert_allclose(again.encode(TEXTS), vectors, atol=1e-6)
    assert again.fingerprint == model.fingerprint
    first = again.trunk.trunk_variables[0]
    first.assign_add(np.full(first.shape, 1e-3, "float32"))
    assert again.fingerprint != model.fingerprint
    assert model.encode([]).shape == (0, 16)


@pytest.mark.parametrize("content", [b"", b"not a zip", None])
def test_unusable_files_are_one_error(content, tmp_path):
    path = tmp_path / "m.keras"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"m\.keras"):
        kzoo.load(path)


def test_saved_models_take_no_overrides(tiny_classifier, tmp_path):
    model = tiny_classifier(num_classes=2)
    model.save(tmp_path / "m.keras")
    with pytest.raises(RecipeError, match="`num_classes` cannot be changed"):
        kzoo.load(tmp_path / "m.keras", num_classes=3)


def test_a_file_of_an_older_kzoo_says_so():
    with pytest.raises(InputError, match=r"written by kzoo 0\.1"):
        kzoo.TextClassifier.from_config({"name": "m", "spec": {}, "trunk": {}, "adapters": {}})


def test_a_clone_reads_strings_and_has_the_adapters(tiny_classifier, reviews):
    """`clone_model` copies layers by their configs, with new values."""
    model = tiny_classifier("lora", labels=("neg", "pos"))
    model.fit(*reviews, epochs=1, verbose=0)
    clone = keras.models.clone_model(model)
    assert type(clone) is type(model) and list(clone.adapters) == ["default"]
    assert clone.labels == ["neg", "pos"] and clone.trunk is not model.trunk
    assert len(clone.trainable_variables) == len(model.trainable_variables)
    clone.set_weights(model.get_weights())
    np.testing.assert_allclose(
        clone.predict(TEXTS, verbose=0), model.predict(TEXTS, verbose=0), atol=1e-6
    )
    clone.fit(*reviews, epochs=1, verbose=0)
