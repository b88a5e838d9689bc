"""merge, unmerge, merge_and_unload."""

import keras
import numpy as np
import pytest
from families import make_tiny_backbone, sequence_output, tiny_inputs

import kzoo
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
    assert model.adapters.trunk_fingerprint() != fingerprint
    assert model.adapters.trunk_fingerprint("a") == fingerprint
    with pytest.raises(AdapterError, match="opposite order"):
        model.adapters.unmerge("a")
    model.adapters.unmerge("b")
    model.adapters.unmerge("a")
    model.adapters.deactivate()
    np.testing.assert_array_equal(np.asarray(model(x)), plain)
    assert model.adapters.trunk_fingerprint() == fingerprint


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


def language_model():
    """A tiny Llama with a tied output matrix, and its inputs."""
    import keras_hub
    from families import make_tiny_backbone, tiny_inputs

    task = keras_hub.models.LlamaCausalLM(backbone=make_tiny_backbone("llama"), preprocessor=None)
    return task, tiny_inputs("llama")


def adapted(task, **specs):
    import kzoo

    found = kzoo.adapt(task)
    for name, spec in specs.items():
        found.add(name, spec, activate=False)
        disturb(task, name)
    return found


def outputs(model, x):
    return np.asarray(model(x))


STACKS = {
    ("lora", "lora"): "ab",  # those that only add commute
    ("lora", "ia3"): "a",  # the innermost
    ("ia3", "lora"): "a",
    ("lora", "oft[block_size=4]"): "a",
    ("loha[r=2]", "lora"): "ab",
    ("lora", "dora"): "",  # DoRA's norms are those of the weights
    ("dora", "lora"): "a",
}


@pytest.mark.parametrize(("a", "b"), STACKS)
def test_of_a_stack_the_others_go_on_acting(a, b):
    """Merging one of two leaves the outputs as they are, or is refused and changes nothing."""
    for name in "ab":
        task, x = language_model()
        found = adapted(task, a=a, b=b)
        found.activate("a", "b")
        both = outputs(task, x)
        if name in STACKS[a, b]:
            found.merge(name)
            assert found.active == ("b" if name == "a" else "a",)
        else:
            with pytest.raises(AdapterError, match="it would be the innermost"):
                found.merge(name)
            assert found.active == ("a", "b") and not found.merged
        np.testing.assert_allclose(outputs(task, x), both, atol=2e-5)


def test_of_another_composition_none_is_merged():
    import kzoo

    task, x = language_model()
    found = adapted(task, a="lora", b="lora")
    found.activate(kzoo.Average("a", "b"))
    both = outputs(task, x)
    with pytest.raises(AdapterError, match="acts in Average"):
        found.merge("a")
    np.testing.assert_array_equal(outputs(task, x), both)


@pytest.mark.parametrize(("a", "b", "fits"), [("dora", "dora", False), ("lora", "ia3", True)])
def test_merged_one_after_the_other(a, b, fits):
    """Two merges are their stack; what reads weights that an earlier one has changed is refused."""
    task, x = language_model()
    found = adapted(task, a=a, b=b)
    found.activate("a", "b")
    both = outputs(task, x)
    found.activate("a")
    first = outputs(task, x)
    found.merge("a")
    if fits:
        found.merge("b")
    else:
        with pytest.raises(AdapterError, match="depends on the weights that were changed"):
            found.merge("b")
    np.testing.assert_allclose(outputs(task, x), both if fits else first, atol=2e-5)


def test_a_table_that_is_the_output_matrix_too(tiny_classifier):
    """LoRA acts on the input side of a tied table only; trained rows act on both."""
    task, x = language_model()
    found = adapted(task, a="lora[targets=[token_embedding]]")
    found.activate("a")
    before = outputs(task, x)
    with pytest.raises(AdapterError, match="the same table"):
        found.merge("a")
    np.testing.assert_array_equal(outputs(task, x), before)
    model = tiny_classifier("lora[targets=[token_embedding]]", num_classes=2)  # no output matrix
    disturb(model, "default")
    x = model.text.encode(["good film"])
    before = outputs(model, x)
    model.adapters.merge("default")
    np.testing.assert_allclose(outputs(model, x), before, atol=2e-5)


def test_a_head_that_reads_the_table():
    from tiny import make_model, make_tiny_trunk

    import kzoo

    model = make_model(kzoo.MaskFiller, make_tiny_trunk(), max_tokens=32)
    model.adapters.add("a", "lora[targets=[token_embedding]]")
    disturb(model, "a")
    with pytest.raises(AdapterError, match="the same table"):
        model.adapters.merge("a")


def test_a_merged_adapter_keeps_its_values(model, tmp_path):
    model.adapters.save("a", tmp_path / "a")
    model.adapters.merge("a")
    with pytest.raises(AdapterError, match="is merged into the trunk"):
        model.adapters.swap("a", tmp_path / "a")


def test_an_adapter_knows_what_was_merged_below_it(model, tiny_classifier, tmp_path):
    model.adapters.save("a", tmp_path / "bare")
    model.adapters.merge("a")
    model.adapters.save("a", tmp_path / "a")
    model.adapters.save("b", tmp_path / "b")
    other = tiny_classifier(num_classes=3)
    other.adapters.load(tmp_path / "a", "same")  # itself, from a trunk without it
    with pytest.raises(AdapterError, match="trained on another trunk"):
        other.adapters.load(tmp_path / "b")
    other.adapters.merge("same")
    with pytest.raises(AdapterError, match="with \\['same'\\] merged into it"):
        other.adapters.load(tmp_path / "bare", "again")
    other.adapters.load(tmp_path / "b")
    x = model.text.encode(["good film"])
    model.adapters.activate("b")
    np.testing.assert_allclose(outputs(other, x), outputs(model, x), atol=1e-5)


def tiny_bert():
    keras.utils.set_random_seed(0)
    return make_tiny_backbone("bert")


def out(backbone):
    return np.asarray(sequence_output(backbone(tiny_inputs("bert"))))


def test_without_adapters_that_act_a_quantised_trunk_runs_as_keras_own():
    bare, backbone = tiny_bert(), tiny_bert()
    bare.quantize("int8")
    adapters = kzoo.adapt(backbone)
    adapters.add("a", "lora")
    backbone.quantize("int8")
    with pytest.raises(AdapterError, match="cannot be merged: the layer is quantised"):
        adapters.merge("a")
    adapters.deactivate()
    np.testing.assert_allclose(out(backbone), out(bare), atol=2e-6)
    adapters.delete("a")
    np.testing.assert_allclose(out(backbone), out(bare), atol=2e-6)


@pytest.mark.parametrize("later", [False, True])
def test_a_bottleneck_acts_between_quantised_layers(later):
    plain, quantised = tiny_bert(), tiny_bert()
    if not later:
        quantised.quantize("int8")
    changed = []
    for backbone in (plain, quantised):
        adapters = kzoo.adapt(backbone)
        adapters.add("a", "pfeiffer")
        rng = np.random.default_rng(0)
        for variable in adapters.variables("a").values():
            variable.assign(rng.normal(0, 0.3, variable.shape))
        if backbone is quantised and later:
            backbone.quantize("int8")
        with_adapter = out(backbone)
        adapters.deactivate()
        changed.append(with_adapter - out(backbone))
    effect, error = np.abs(changed[0]).max(), np.abs(changed[1] - changed[0]).max()
    assert effect > 0.5 and error < 0.15 * effect
