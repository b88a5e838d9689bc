"""AdapterHub's folders: heads, old files, other families, and everything that is refused."""

import json
import os
import pickle
import shutil
import warnings
import zipfile

import numpy as np
import pytest
from hub_golden import EXPECTED, GOLDEN, golden_backbone, golden_classifier, inputs
from safetensors.numpy import load_file, save_file

import kzoo
from kzoo.errors import AdapterError
from kzoo.interop import InteropWarning, read_adapterhub
from kzoo.interop.adapterhub.words import WORDS


@pytest.fixture(scope="module")
def adapters():
    """The manager of the golden trunk."""
    backbone, _ = golden_backbone()
    return kzoo.adapt(backbone)


@pytest.fixture
def changed(tmp_path):
    """A copy of a golden folder: `changed(name, config changes, file changes, tensors)`."""

    def make(name, config=(), file=(), tensors=lambda t: t):
        folder = tmp_path / "changed"
        shutil.copytree(GOLDEN / name, folder)
        path = folder / "adapter_config.json"
        facts = json.loads(path.read_text())
        facts["config"] |= dict(config)
        facts |= dict(file)
        path.write_text(json.dumps({k: v for k, v in facts.items() if v is not None}))
        weights = folder / "adapter.safetensors"
        if weights.is_file():
            save_file(tensors(load_file(weights)), weights)
        return folder

    return make


# --- Heads ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["head_one_layer", "head_static", "head_two_layers"])
def test_heads(name, tmp_path):
    model = golden_classifier()
    model.adapters.load_adapterhub(GOLDEN / name)
    logits = np.asarray(model(inputs()))
    np.testing.assert_allclose(logits, EXPECTED[name], atol=1e-5)
    assert model.labels == (["x", "y", "z"] if name != "head_static" else None)
    two = name == "head_two_layers"  # its first layer is a pooler of its own
    assert [part.method for part in model.adapters.configs["a"].parts] == ["ia3", "full"][: 1 + two]

    model.adapters.save_adapterhub("a", tmp_path / "own")
    again = golden_classifier()
    again.adapters.load_adapterhub(tmp_path / "own", "b")
    np.testing.assert_allclose(np.asarray(again(inputs())), logits, atol=1e-6)
    if name != "head_static":  # the library has one form of its own for that
        ours = load_file(tmp_path / "own" / "model_head.safetensors")
        config = json.loads((tmp_path / "own" / "head_config.json").read_text())
        theirs = json.loads((GOLDEN / name / "head_config.json").read_text())
        assert config["config"] == theirs["config"] | ({} if two else {"activation_function": None})
        assert config["model_class"] == theirs["model_class"]
        assert set(ours) == {
            f"heads.a.{n}.{p}" for n in "14"[: 1 + two] for p in ("weight", "bias")
        }


def test_a_head_without_a_place_is_left_aside(adapters):
    with pytest.warns(InteropWarning, match="no place for"):
        adapters.load_adapterhub(GOLDEN / "head_two_layers")
    assert adapters.configs["a"].method == "ia3"
    adapters.delete("a")


def test_a_head_of_another_kind_is_left_aside(tmp_path):
    folder = tmp_path / "a"
    shutil.copytree(GOLDEN / "head_one_layer", folder)
    path = folder / "head_config.json"
    facts = json.loads(path.read_text())
    facts["config"]["head_type"] = "tagging"
    path.write_text(json.dumps(facts))
    with pytest.warns(InteropWarning, match="'tagging' has no form here"):
        assert read_adapterhub(folder).facts["head"] == {}


def test_a_head_that_does_not_fit_changes_nothing():
    model = golden_classifier(num_classes=5)
    before = np.asarray(model(inputs()))
    with pytest.raises(AdapterError, match="has 3 classes, this model 5"):
        model.adapters.load_adapterhub(GOLDEN / "head_one_layer")
    assert list(model.adapters) == []
    np.testing.assert_array_equal(np.asarray(model(inputs())), before)
    model.adapters.load_adapterhub(GOLDEN / "head_one_layer", with_head=False)


# --- What does not fit ---------------------------------------------------------------------


def _without(part):
    return lambda tensors: {k: v for k, v in tensors.items() if part not in k}


def _more(tensors):
    return tensors | {"bert.encoder.layer.0.intermediate.adapters.a.up": np.zeros(1, "float32")}


def _cut(tensors):
    return {k: v[:, :-1] if k.endswith("adapter_down.0.weight") else v for k, v in tensors.items()}


@pytest.mark.parametrize(
    ("name", "config", "file", "tensors", "message"),
    [
        ("par_bn", {}, {}, _without("layer.1"), r"missing \['bert.encoder.layer.1.output"),
        ("par_bn", {}, {}, _more, r"unexpected \['bert.encoder.layer.0.intermediate.adapters"),
        ("par_bn", {}, {}, _cut, "adapter_down.0.weight` does not have the model's sizes"),
        ("par_bn", {"ln_after": True}, {}, None, "missing .*adapter_norm_after.weight"),
        ("par_bn", {"non_linearity": "mish"}, {}, None, "non_linearity"),
        ("par_bn", {"leave_out": [7]}, {}, None, "leave_out"),
        ("seq_bn_inv", {"inv_adapter": "glow"}, {}, None, "inv_adapter"),
        ("compacter", {"shared_W_phm": True}, {}, None, "`shared_W_phm` True changes"),
        ("lora", {"r": 3}, {}, None, "does not have the model's sizes"),
        ("lora", {"composition_mode": "mix"}, {}, None, "'mix' is not known"),
        ("lora", {"attn_matrices": ["q", "o"]}, {}, None, "`attn_matrices` 'o' cannot be read"),
        ("lora", {"architecture": "mtl_lora"}, {}, None, "'mtl_lora' cannot be read"),
        ("lora", {}, {"model_type": "bart"}, None, "of the family 'bart'; this model is of 'bert'"),
        ("lora", {}, {"model_type": "whisper"}, None, "'whisper' are not supported"),
        ("lora", {}, {"model_type": None}, None, "it is not AdapterHub's"),
        ("ia3", {"use_gating": True}, {}, None, "kzoo has no gate"),
        ("ia3", {"alpha": 2}, {}, None, "`r` or `alpha` other than 1"),
        ("noreft", {"output_reft": False}, {}, None, "`output_reft` False changes"),
        ("prompt", {"combine": "suffix"}, {}, None, "'suffix' is not known"),
        ("prompt", {"prompt_length": 4}, {}, None, "does not have the model's sizes"),
    ],
)
def test_refused(adapters, changed, name, config, file, tensors, message):
    folder = changed(name, config, file, tensors or (lambda t: t))
    with pytest.raises(AdapterError, match=message):
        adapters.load_adapterhub(folder, direft=False)
    assert list(adapters) == [] and adapters.active == ()


def test_refusals_keep_what_acted(adapters, changed):
    adapters.add("own", "lora")
    with pytest.raises(AdapterError):
        adapters.load_adapterhub(changed("par_bn", tensors=_cut))
    assert list(adapters) == ["own"] and adapters.active == ("own",)
    with pytest.raises(AdapterError, match="is taken"):
        adapters.load_adapterhub(GOLDEN / "par_bn", "own")
    assert adapters.active == ("own",)
    adapters.delete("own")


def test_unknown_keys_are_named(changed):
    folder = changed("lora", {"future": 1})
    with pytest.warns(InteropWarning, match="leaves aside: future"):
        read_adapterhub(folder)


@pytest.mark.parametrize("value", ["x", [], {}, -1, 3.5, True])
@pytest.mark.parametrize("name", ["seq_bn_inv", "lora", "prefix_mlp", "prompt", "loreft"])
def test_values_of_any_type_are_refused_or_read(changed, name, value):
    folder = changed(name)
    path = folder / "adapter_config.json"
    facts = json.loads(path.read_text())
    outcomes = set()
    for key in facts["config"]:
        path.write_text(json.dumps(facts | {"config": facts["config"] | {key: value}}))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read_adapterhub(folder)
                outcomes.add("read")
            except AdapterError:
                outcomes.add("refused")
    assert "refused" in outcomes


def test_nothing_in_a_pickle_is_run(tmp_path, changed):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'run'}",)

    folder = changed("lora")
    (folder / "adapter.safetensors").unlink()
    for content in ({"bert.a": Evil()}, Evil()):
        with zipfile.ZipFile(folder / "pytorch_adapter.bin", "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(content))
            archive.writestr("archive/version", "3")
        with pytest.raises(AdapterError, match=r"system.*not allowed"):
            read_adapterhub(folder)
    (folder / "pytorch_adapter.bin").write_bytes(pickle.dumps(Evil()))  # before torch 1.6
    with pytest.raises(AdapterError, match="no PyTorch checkpoint"):
        read_adapterhub(folder)
    assert not (tmp_path / "run").exists()


# --- Old files -----------------------------------------------------------------------------


def test_files_of_adapter_transformers_1(adapters, tmp_path):
    """No version, other activation names, task adapters with an invertible adapter they lack."""
    folder = tmp_path / "old"
    folder.mkdir()
    tensors = load_file(GOLDEN / "par_bn" / "adapter.safetensors")
    tensors = {
        key.replace("output.adapters", "output.layer_text_task_adapters"): value
        for key, value in tensors.items()
    }
    save_file(tensors, folder / "adapter.safetensors")
    config = {
        "adapter_residual_before_ln": False,
        "attention_type": "sent-lvl-dynamic",
        "invertible_adapter": {
            "block_type": "nice",
            "non_linearity": "gelu",
            "reduction_factor": 2,
        },
        "ln_after": False,
        "ln_before": False,
        "mh_adapter": False,
        "new_attention_norm": False,
        "non_linearity": "gelu",
        "original_ln_after": True,
        "original_ln_before": True,
        "output_adapter": True,
        "reduction_factor": 4,
        "residual_before_ln": True,
    }
    facts = {"config": config, "type": "text_task", "model_type": "bert", "name": "a"}
    (folder / "adapter_config.json").write_text(json.dumps(facts | {"hidden_size": 16}))
    found = read_adapterhub(folder).config
    assert found.non_linearity == "gelu_new" and found.inv_adapter is None
    assert adapters.load_adapterhub(folder, activate=False) == "a"
    adapters.delete("a")
    # A language adapter says the same and has it.
    (folder / "adapter_config.json").write_text(json.dumps(facts | {"type": "text_lang"}))
    with pytest.raises(AdapterError, match=r"missing .*invertible_adapters.a.F.0.weight"):
        read_adapterhub(folder)


@pytest.mark.parametrize(("version", "alpha"), [("1.0.1", 2), ("1.1.0", 6), ("1.3.0", 6)])
def test_lora_before_110_had_no_scaling(changed, version, alpha):
    folder = changed("lora", {}, {"version": f"adapters.{version}"})
    assert read_adapterhub(folder).config.alpha == alpha


def test_name_in_the_keys(changed):
    folder = changed("lora", {}, {"name": None})
    assert read_adapterhub(folder).facts["name"] == "a"


def test_every_key_of_the_library_is_known():
    """The golden configurations are complete, so that nothing of them may be unknown."""
    for path in GOLDEN.glob("*/adapter_config.json"):
        whole = json.loads(path.read_text())["config"]
        for raw in whole.get("configs", [whole]):
            known = {key.theirs for key in WORDS[raw.get("architecture")]}
            assert set(raw) <= known, path
            assert known - set(raw) <= {
                "architecture",
                "random_uniform_scale",
                "subtract_projection",
            }
