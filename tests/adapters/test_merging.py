"""merge, unmerge, merge_and_unload."""

import numpy as np
import pytest

from kzoo.errors import AdapterError

TARGETS = "targets=[query,value,attention_output,ffn_intermediate,ffn_output]"


def disturb(model, *names):
    rng = np.random.default_rng(0)
    for name in names:
        for variable in model.adapters.variables(name).values():
            variable.assign(rng.normal(0, 0.3, variable.shape))


@pytest.fixture
def model(tiny_classifier):
    model = tiny_classifier(num_classes=3)
    for name in ("a", "b"):
        model.adapters.add(name, f"lora[r=2,{TARGETS}]")
    model.adapters.add("c", "pfeiffer")
    disturb(model, "a", "b", "c")
    return model


def test_merged_equals_unmerged_and_comes_out_bit_for_bit(model, tmp_path):
    x = model.text.encode(["good film", "a bad cat"])
    model.adapters.deactivate()
    plain, fingerprint = np.asarray(model(x)), model.adapters.trunk_fingerprint()
    model.adapters.activate("a", "b")
    both = np.asarray(model(x))
    assert np.abs(both - plain).max() > 1e-2
    model.adapters.merge("a")
    model.adapters.merge("b")
    assert (model.adapters.merged, model.adapters.active) == (("a", "b"), ())
    np.testing.assert_allclose(np.asarray(model(x)), both, atol=1e-5)
    assert model.adapters.trunk_fingerprint() == fingerprint
    with pytest.raises(AdapterError, match="opposite order"):
        model.adapters.unmerge("a")
    model.adapters.unmerge("b")
    model.adapters.unmerge("a")
    model.adapters.deactivate()
    np.testing.assert_array_equal(np.asarray(model(x)), plain)


def test_merge_and_unload_leaves_a_plain_model(model):
    x = model.text.encode(["good film", "a bad cat"])
    model.adapters.activate("a")
    adapted = np.asarray(model(x))
    model.adapters.merge_and_unload("a")
    assert "a" not in model.adapters
    np.testing.assert_allclose(np.asarray(model(x)), adapted, atol=1e-5)


def test_what_is_refused_changes_nothing(model):
    x = model.text.encode(["good film"])
    plain = np.asarray(model(x))
    with pytest.raises(AdapterError, match="cannot be merged"):
        model.adapters.merge("c")
    with pytest.raises(AdapterError, match="is not merged"):
        model.adapters.unmerge("a")
    model.adapters.variables("a")["blocks.1.query.lora_b"].assign(np.full((2, 16), np.nan))
    with pytest.raises(AdapterError, match="not finite"):
        model.adapters.merge("a")
    np.testing.assert_array_equal(np.asarray(model(x)), plain)
    model.adapters.merge("b")
    for action in (model.adapters.merge, model.adapters.activate, model.adapters.delete):
        with pytest.raises(AdapterError, match="merged"):
            action("b")


def test_a_saved_model_remembers_what_is_merged(model, tmp_path):
    import kzoo

    x = model.text.encode(["good film"])
    model.adapters.merge("a")
    model.save(tmp_path / "model.keras")
    again = kzoo.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(again(x)), np.asarray(model(x)))
    assert again.adapters.merged == ("a",)
    with pytest.raises(AdapterError, match="before the model was saved"):
        again.adapters.unmerge("a")
