"""AdapterHub's folders that kzoo writes: other families, refusals, conversion."""

import json
import shutil

import numpy as np
import pytest
from hub_golden import EXPECTED, GOLDEN, golden_backbone, golden_classifier, inputs
from safetensors.numpy import load_file

import kzoo
from kzoo.adapters.config import parse_adapter
from kzoo.backbones.dims import Dims
from kzoo.errors import AdapterError
from kzoo.interop import read_adapterhub, write_adapterhub
from kzoo.interop.layouts import layout_of


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


def test_networks_of_prefixes_that_kzoo_has_not(tmp_path):
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
    backbone = adapters.host.model
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
    from kzoo.interop.conversion import convert

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
