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
from kzoo.adapters.config import parse_adapter
from kzoo.adapters.interop import InteropWarning, read_adapterhub, write_adapterhub
from kzoo.adapters.interop.adapterhub_words import WORDS
from kzoo.adapters.interop.layouts import layout_of
from kzoo.backbones.dims import Dims
from kzoo.errors import AdapterError


def dims(family, hidden_dim=8, **sizes):
    """Sizes of a small trunk."""
    usual = {"num_layers": 2, "num_heads": 2, "intermediate_dim": 24, "vocabulary_size": 40}
    return Dims.model_validate({"family": family, "hidden_dim": hidden_dim, **usual, **sizes})


BERT, GPT2 = dims("bert", 16), dims("gpt2")


def layout(dims):
    return layout_of(dims.places(), dims.family, dims)


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


# --- Other families ------------------------------------------------------------------------


def _written(tmp_path, spec, dims, seed=0):
    """A random adapter written for a trunk of these sizes: (config, our tensors, the file's)."""
    config = parse_adapter(spec)
    rng = np.random.default_rng(seed)
    tensors = {}
    for place in config.choose(dims.places()):
        for name, shape in _shapes(config, place).items():
            tensors[f"{place.key}.{name}"] = rng.normal(size=shape).astype("float32")
    write_adapterhub(tmp_path / "a", config, tensors, layout(dims), "a")
    return config, tensors, load_file(tmp_path / "a" / "adapter.safetensors")


def _shapes(config, place):
    if config.method == "ia3":
        return {"ia3_l": (place.size_out,)}
    return {"lora_a": (place.size_in, config.r), "lora_b": (config.r, place.size_out)}


def test_gpt2_has_one_module_for_query_key_and_value(tmp_path):
    """The library's grouped convolution: rows of A and of B for each enabled matrix in turn."""
    config, ours, file = _written(tmp_path, "lora[r=2,targets=[query,value,ffn_output]]", GPT2)
    stem = "transformer.h.1.attn.c_attn.loras.a"
    a, b = file[f"{stem}.lora_A"], file[f"{stem}.lora_B"]
    assert a.shape == (4, 8) and b.shape == (16, 2)
    assert file["transformer.h.1.mlp.c_proj.loras.a.lora_A"].shape == (2, 24)
    x = np.random.default_rng(1).normal(size=(3, 8))
    grouped = [(x @ a[2 * i : 2 * i + 2].T) @ b[8 * i : 8 * i + 8].T for i in (0, 1)]
    for i, name in enumerate(("query", "value")):
        own = x @ ours[f"blocks.1.{name}.lora_a"] @ ours[f"blocks.1.{name}.lora_b"]
        np.testing.assert_allclose(grouped[i], own, rtol=1e-5)
    again = read_adapterhub(tmp_path / "a", GPT2)
    assert again.config == config
    for key, value in ours.items():
        np.testing.assert_array_equal(again.tensors[key], value)


def test_ia3_of_gpt2(tmp_path):
    spec = "ia3[pre_activation=true]"
    _, ours, file = _written(tmp_path, spec, GPT2)
    both = [ours[f"blocks.0.{name}.ia3_l"] for name in ("key", "value")]
    assert file["transformer.h.0.attn.c_attn.loras.a.lora_B"].tolist() == [
        [value] for value in np.concatenate(both).tolist()
    ]
    assert "transformer.h.0.mlp.c_fc.loras.a.lora_B" in file


def test_llamas_projections_are_the_wrong_way_round(tmp_path):
    llama = dims("llama", num_kv_heads=1)
    _, _, file = _written(tmp_path, "lora[r=2,targets=[ffn_output]]", llama)
    facts = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert "model.layers.0.mlp.down_proj.loras.a.lora_A" in file
    assert facts["config"]["intermediate_lora"] and not facts["config"]["output_lora"]
    assert read_adapterhub(tmp_path / "a").config.targets == ("ffn_output",)


def test_encoder_decoders_have_adapters_in_all_attentions(tmp_path):
    t5 = dims("t5")
    _, _, file = _written(tmp_path, "lora[r=2,leave_out=[0]]", t5)
    assert {key.split(".loras")[0] for key in file if "decoder.block.0" in key} == {
        f"transformer.decoder.block.0.layer.{n}.{module}.{name}"
        for n, module in ((0, "SelfAttention"), (1, "EncDecAttention"))
        for name in "qv"
    }
    assert not any("encoder.block.0" in key for key in file)
    with pytest.raises(AdapterError, match="T5's keys and not of its queries"):
        write_adapterhub(tmp_path / "p", parse_adapter("prefix"), {}, layout(t5), "a")


# --- Writing -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("bitfit", "no format for `bitfit`"),
        ("lora[use_rslora=true]", "none of .*`use_rslora`"),
        ("lora[init=pissa]", "`init` pissa has no form"),
        ("lora[targets=[attention_output]]", "not 'attention_output'"),
        ("lora[exclude=[blocks.0.query]]", "whole blocks only"),
        ("dora", "Only `dora_dialect=adapterhub` can be written"),
        ("ia3", "which is another function"),
        ("prompt", "only `insertion=embeddings` can be written"),
        ("prefix[shift_positions=true]", "leave positions alone"),
        ("prefix[exclude=[blocks.0.attention]]", "blocks.0.attention is different"),
        ("lora|gated_lora", "two methods of the kind 'lora'"),
        ("pfeiffer|houlsby", "two methods of the kind 'bottleneck'"),
        ("direft[non_linearity=relu]", "but not with a `non_linearity`"),
    ],
)
def test_what_cannot_be_written(tmp_path, spec, message):
    config = parse_adapter(spec)
    tensors = _Any()
    with pytest.raises(AdapterError, match=message):
        write_adapterhub(tmp_path / "a", config, tensors, layout(BERT), "a")
    assert not (tmp_path / "a").exists()


class _Any(dict):
    """Some tensor for every key."""

    def __missing__(self, key):
        return np.zeros((2, 2), "float32")


def test_only_adapter_folders_are_replaced(adapters, tmp_path):
    adapters.load_adapterhub(GOLDEN / "lora")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("...")
    with pytest.raises(AdapterError, match="is no adapter folder"):
        adapters.save_adapterhub("a", tmp_path / "precious")
    adapters.save_adapterhub("a", tmp_path / "own", base_model="bert-base-uncased")
    adapters.save_adapterhub("a", tmp_path / "own", base_model="bert-base-cased")
    facts = json.loads((tmp_path / "own" / "adapter_config.json").read_text())
    assert facts["model_name"] == "bert-base-cased" and facts["version"].startswith("adapters.")
    with pytest.raises(AdapterError, match="no adapter `b`"):
        adapters.save_adapterhub("b", tmp_path / "own")
    adapters.delete("a")


def test_a_file_alone_does_not_tell_the_heads():
    assert read_adapterhub(GOLDEN / "prefix_flat").tensors[
        "blocks.0.attention.prefix_key"
    ].shape == (
        3,
        1,
        16,
    )
    found = read_adapterhub(GOLDEN / "prefix_flat", BERT)
    assert found.tensors["blocks.0.attention.prefix_key"].shape == (3, 2, 8)
    assert found.facts["heads_known"]


def test_networks_of_prefixes_that_kzoo_has_not(changed, tmp_path):
    """Another function between the layers: what the network gives is taken."""
    folder = tmp_path / "a"
    shutil.copytree(GOLDEN / "prefix_mlp", folder)
    facts = json.loads((folder / "adapter_config.json").read_text())
    facts["config"]["non_linearity"] = "relu"
    (folder / "adapter_config.json").write_text(json.dumps(facts))
    network = read_adapterhub(GOLDEN / "prefix_mlp", BERT)
    flat = read_adapterhub(folder, BERT)
    assert network.config.projection and not flat.config.projection
    t = network.tensors
    hidden = np.maximum(
        t["shared.embedding"] @ t["shared.hidden_kernel"] + t["shared.hidden_bias"], 0
    )
    both = hidden @ t["blocks.0.attention.output_kernel"] + t["blocks.0.attention.output_bias"]
    expected = both.reshape(3, 2, 2, 8)
    for i, name in enumerate(("prefix_key", "prefix_value")):
        found = flat.tensors[f"blocks.0.attention.{name}"]
        np.testing.assert_allclose(found, expected[:, i], atol=1e-6)


def test_dora_of_adapterhub(adapters, tmp_path):
    """W' = (m / |W + A B|) (W + s A B), and the bias times the same."""
    adapters.load_adapterhub(GOLDEN / "dora")
    assert adapters.configs["a"].dora_dialect == "adapterhub"
    backbone = adapters._model.model
    before = np.asarray(backbone(inputs())["sequence_output"])
    with pytest.raises(AdapterError, match="another function than PEFT's DoRA"):
        adapters.save_peft("a", tmp_path / "peft")
    adapters.merge("a")
    np.testing.assert_allclose(np.asarray(backbone(inputs())["sequence_output"]), before, atol=1e-5)
    adapters.unmerge("a")
    adapters.delete("a")
    with pytest.raises(AdapterError, match="`dora_dialect` adapterhub goes neither"):
        parse_adapter("dora[dora_dialect=adapterhub,train_bias=lora_only]")


# --- Without a model -----------------------------------------------------------------------


def test_converted_to_kzoo_and_back(tmp_path):
    from kzoo.adapters.interop.conversion import convert

    found = convert(GOLDEN / "head_two_layers", tmp_path / "k", "kzoo")
    assert found["methods"] == ["ia3", "full"] and found["head"] == 3
    model = golden_classifier()
    model.adapters.load(tmp_path / "k")
    np.testing.assert_allclose(np.asarray(model(inputs())), EXPECTED["head_two_layers"], atol=1e-5)
    model.adapters.save("a", tmp_path / "own")  # knows the sizes of its trunk
    found = convert(tmp_path / "own", tmp_path / "hub", "adapterhub")
    assert found["dialect"] == "adapterhub" and found["head"] == 3
    again = golden_classifier()
    again.adapters.load_adapterhub(tmp_path / "hub")
    np.testing.assert_allclose(np.asarray(again(inputs())), EXPECTED["head_two_layers"], atol=1e-5)
    with pytest.raises(AdapterError, match="how many heads the trunk has"):
        convert(GOLDEN / "prefix_flat", tmp_path / "p", "kzoo")
