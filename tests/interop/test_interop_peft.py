"""Rules of PEFT's folders that need no PEFT: targets, refusals, what cannot be said."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tiny import POSITIVE, make_model

import kzoo
from kzoo.backbones.dims import Dims
from kzoo.backbones.miniatures import make_miniature, miniature_inputs
from kzoo.errors import AdapterError
from kzoo.interop import InteropWarning, read_peft
from kzoo.interop.layouts import layout_of
from kzoo.interop.models import layout_of_model
from kzoo.interop.peft.table import FULL, METHODS
from kzoo.interop.peft.targets import chosen_paths, said_in_kzoo, short_names

SIZES = {
    "num_layers": 3,
    "hidden_dim": 16,
    "intermediate_dim": 32,
    "num_heads": 2,
    "vocabulary_size": 60,
    "max_sequence_length": 20,
}
RNG = np.random.default_rng(0)


def layout(family="bert", **more):
    dims = Dims(family=family, **SIZES, **more)
    return layout_of(dims.places(), family, dims)


def folder_of(path, tensors, **config):
    path.mkdir(exist_ok=True)
    config = {"peft_type": "LORA", **config}
    (path / "adapter_config.json").write_text(json.dumps(config))
    save_file(tensors, path / "adapter_model.safetensors")
    return path


def lora(modules, r=3, width=16, root="base_model.model.bert."):
    return {
        f"{root}{module}.lora_{side}.weight": RNG.normal(size=shape).astype("float32")
        for module in modules
        for side, shape in (("A", (r, width)), ("B", (width, r)))
    }


def queries(blocks=2, name="query"):
    return [f"encoder.layer.{block}.attention.self.{name}" for block in range(blocks)]


# --- Table --------------------------------------------------------------------------------


def test_rows_are_their_own_inverse():
    for method in (*METHODS, FULL):
        for row in method.rows:
            shape = (5,) if row.form in ("column", "row") else (5, 3)
            value = RNG.normal(size=shape)
            there = row.theirs(value)
            np.testing.assert_array_equal(row.ours(there), value)
            assert row.shape(shape) == there.shape
            assert (
                there.shape
                == {
                    "same": (5, 3),
                    "transposed": (3, 5),
                    "column": (5, 1),
                    "row": (1, 5),
                }[row.form]
            )


def test_names_of_modules():
    bert = layout(pooler=True)
    assert bert.path_of("blocks.1.ffn_output") == "encoder.layer.1.output.dense"
    assert bert.path_of("pooler") == "pooler.dense"
    assert bert.modules["embeddings.LayerNorm"].kind == "norm"
    gpt2 = layout("gpt2")
    assert gpt2.modules["h.2.attn.c_attn"].keys == tuple(
        f"blocks.2.{name}" for name in ("query", "key", "value")
    )
    plain, gated = layout("t5"), layout("t5", gated=True)
    assert plain.path_of("decoder.0.ffn_intermediate").endswith("layer.2.DenseReluDense.wi")
    assert gated.path_of("decoder.0.ffn_gate").endswith("layer.2.DenseReluDense.wi_0")
    assert plain.path_of("decoder.2.cross_key") == "decoder.block.2.layer.1.EncDecAttention.k"
    with pytest.raises(AdapterError, match="PEFT has no module for `token_embedding`"):
        plain.path_of("token_embedding")
    assert "layers.0.mlp.gate_proj" in layout("llama").modules


# --- Targets ------------------------------------------------------------------------------

ENDS = ("query", "key", "value", "attention.output.dense", "intermediate.dense")
TARGETS = [
    ({"target_modules": ["query"]}, lambda p: p.endswith(".query")),
    (
        {"target_modules": ["output.dense"]},
        lambda p: p.endswith("output.dense"),
    ),  # of the attention too
    ({"target_modules": "all-linear"}, lambda p: not p.endswith(("LayerNorm", "embeddings"))),
    ({"target_modules": r".*\.1\..*(query|key)"}, lambda p: ".1." in p and p[-5:] != "value"),
    (
        {"target_modules": ["query"], "layers_to_transform": [0, 2]},
        lambda p: p.endswith(".query") and ".1." not in p,
    ),
    (
        {"target_modules": ["query"], "layers_to_transform": 1, "layers_pattern": "layer"},
        lambda p: p.endswith(".query") and ".1." in p,
    ),
    (
        {"target_modules": ["query", "value"], "exclude_modules": r".*\.2\..*"},
        lambda p: p.endswith((".query", ".value")) and ".2." not in p,
    ),
    (
        {"target_modules": ["query", "dense"], "modules_to_save": ["pooler"]},
        lambda p: p.endswith((".query", ".dense")) and "pooler" not in p,
    ),
    ({"target_parameters": ["pooler.dense.weight"]}, lambda p: p.endswith("pooler.dense")),
]


@pytest.mark.parametrize(("config", "wanted"), TARGETS)
def test_targets(config, wanted):
    bert = layout(pooler=True)
    found = chosen_paths(config, bert, "bert.")
    if "all-linear" in config.values():
        assert len(found) == 3 * 6 + 1
    expected = [path for path in bert.modules if wanted(f"bert.{path}")]
    if "(query|key)" in str(config):
        expected = [p for p in expected if p.endswith(("query", "key"))]
    assert found == expected and found


@pytest.mark.parametrize(("config", "wanted"), TARGETS)
def test_targets_as_peft_finds_them(config, wanted):
    pytest.importorskip("peft")
    from types import SimpleNamespace

    from peft.tuners.tuners_utils import _ExcludedModule, check_target_module_exists

    if "target_parameters" in config or config["target_modules"] == "all-linear":
        return
    bert = layout(pooler=True)
    theirs = []
    for path in bert.modules:
        found = check_target_module_exists(SimpleNamespace(**config), f"bert.{path}")
        if found and not isinstance(found, _ExcludedModule):
            theirs.append(path)
    assert chosen_paths(config, bert, "bert.") == theirs


def test_a_wrong_expression():
    with pytest.raises(AdapterError, match="no regular expression"):
        chosen_paths({"target_modules": "(query"}, layout(), "")


def test_short_names_mean_what_they_say():
    bert = layout(pooler=True)
    wanted = [path for path in bert.modules if path.endswith((".query", "attention.output.dense"))]
    assert set(short_names(wanted, bert, "bert.")) == {"query", "attention.output.dense"}
    feed = [f"encoder.layer.{i}.output.dense" for i in range(3)]
    names = short_names(feed, bert, "bert.")
    assert chosen_paths({"target_modules": names}, bert, "bert.") == feed
    one = ["encoder.layer.1.attention.self.key"]
    assert short_names(one, bert, "bert.") == ["1.attention.self.key"]
    assert short_names(["pooler.dense"], bert, "bert.") == ["pooler.dense"]


def test_choices_in_our_words():
    places = layout().places
    every = {"blocks.0.query", "blocks.1.query", "blocks.2.query"}
    assert said_in_kzoo(every, places) == {"targets": ("query",)}
    assert said_in_kzoo(every - {"blocks.0.query"}, places) == {
        "targets": ("query",),
        "leave_out": (0,),
    }
    odd = {"blocks.0.query", "blocks.0.key", "blocks.1.query"}
    assert set(said_in_kzoo(odd, places)["targets"]) == odd
    t5 = layout("t5").places
    keys = [p.key for p in t5 if p.name == "query"]
    assert (
        "cross_query" not in str(said_in_kzoo(keys, t5)["targets"])
        and len(said_in_kzoo(keys, t5)["targets"]) == 6
    )
    keys += [p.key for p in t5 if p.name == "cross_query"]
    assert said_in_kzoo(keys, t5) == {"targets": ("query",)}


# --- Reading ------------------------------------------------------------------------------


def test_only_the_type_is_required(tmp_path):
    folder = folder_of(tmp_path / "a", lora(queries(), r=8), surprise=1)
    with pytest.warns(InteropWarning, match="surprise"):
        config, tensors, facts = read_peft(folder)
    assert (config.r, config.alpha, config.use_dora) == (8, 8.0, False)
    assert facts["family"] == "bert" and facts["prefix"] == "bert."
    assert config.targets == ("blocks.0.query", "blocks.1.query")
    assert tensors["blocks.1.query.lora_a"].shape == (16, 8)


def test_families_are_told_apart(tmp_path):
    cases = {
        "roberta": "roberta.encoder.layer.0.attention.self.query",
        "distilbert": "distilbert.transformer.layer.0.attention.q_lin",
        "gpt2": "transformer.h.0.attn.c_proj",
        "llama": "model.layers.0.self_attn.q_proj",
        "t5": "encoder.block.0.layer.0.SelfAttention.q",
        None: "my.own_layer",
    }
    for family, module in cases.items():
        folder = folder_of(tmp_path / "a", lora([module], root="base_model.model."), r=3)
        assert read_peft(folder).facts["family"] == family


def test_half_precision(tmp_path):
    tensors = lora(queries(1))
    key = next(iter(tensors))
    values = np.array([1.0, -2.5, 0.125], "float32").repeat(16).reshape(3, 16)
    brain = (values.view("<u4") >> 16).astype("<u2")
    header = {"dtype": "BF16", "shape": [3, 16], "data_offsets": [0, brain.nbytes]}
    other = list(tensors)[1]
    half = tensors[other].astype("float16")
    ends = [brain.nbytes, brain.nbytes + half.nbytes]
    text = json.dumps(
        {key: header, other: {"dtype": "F16", "shape": [16, 3], "data_offsets": ends}}
    ).encode()
    folder = folder_of(tmp_path / "a", tensors, r=3)
    body = len(text).to_bytes(8, "little") + text + brain.tobytes() + half.tobytes()
    (folder / "adapter_model.safetensors").write_bytes(body)
    found = read_peft(folder).tensors
    np.testing.assert_array_equal(found["blocks.0.query.lora_a"], values.T)
    assert found["blocks.0.query.lora_b"].dtype == np.float32


@pytest.fixture(scope="module")
def model():
    """A classifier of two blocks, on the pooler."""
    from tiny import make_tiny_trunk

    from kzoo.models.classifier import TextClassifier

    head = dict(pooling="pooler")
    return make_model(TextClassifier, make_tiny_trunk(), recipe="tiny", max_tokens=16, head=head)


def _drop(tensors):
    del tensors[f"base_model.model.bert.{queries()[1]}.lora_B.weight"]


def _add(tensors):
    tensors["base_model.model.bert.encoder.layer.7.attention.self.query.lora_A.weight"] = np.ones(1)


def _stranger(tensors):
    tensors["base_model.model.bert.embeddings.strange"] = np.ones(1)


def _misshape(tensors):
    key = f"base_model.model.bert.{queries()[0]}.lora_A.weight"
    tensors[key] = tensors[key][:, :9]


def _block(tensors):
    for key in list(tensors):
        if "layer.1" in key:
            del tensors[key]


def _magnitude(tensors):
    tensors[f"base_model.model.bert.{queries()[0]}.lora_magnitude_vector"] = np.ones(16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_drop, r"missing \['base_model.model.bert.encoder.layer.1.*lora_B.weight'\] \(1 in all\)"),
        (_block, r"missing .*layer.1.*lora_A.weight', .*lora_B.weight'\] \(2 in all\)"),
        (_add, r"unexpected \['base_model.model.bert.encoder.layer.7"),
        (_stranger, r"unexpected \['base_model.model.bert.embeddings.strange'\]"),
        (_magnitude, r"unexpected \[.*lora_magnitude_vector"),
        (_misshape, r"layer.0.*lora_A.weight` does not have .* be \(9, 3\) instead of \(16, 3\)"),
    ],
)
def test_what_does_not_fit_is_refused(model, tmp_path, change, message):
    tensors = lora(queries())
    change(tensors)
    folder = folder_of(tmp_path / "a", tensors, r=3, target_modules=["query"])
    with pytest.raises(AdapterError, match=message):
        model.adapters.load_peft(folder)
    assert len(model.adapters) == 0 and not model.trunk.sites.attached


def test_refusal_leaves_the_active_adapter_alone(model, tmp_path):
    model.adapters.add("own", "lora[r=2]")
    tensors = lora(queries())
    _misshape(tensors)
    with pytest.raises(AdapterError):
        model.adapters.load_peft(folder_of(tmp_path / "a", tensors, r=3))
    assert model.adapters.active == ("own",) and list(model.adapters) == ["own"]
    model.adapters.delete("own")


def test_heads_of_another_form_are_left_aside(model, tmp_path):
    tensors = lora(queries())
    tensors["base_model.model.classifier.dense.weight"] = np.ones((16, 16), "float32")
    folder = folder_of(tmp_path / "a", tensors, r=3)
    with pytest.warns(InteropWarning, match=r"left\s+aside: base_model.model.classifier.dense"):
        model.adapters.load_peft(folder)
    model.adapters.delete("a")


def test_a_head_with_other_classes(model, tmp_path):
    tensors = lora(queries())
    tensors["base_model.model.classifier.weight"] = RNG.normal(size=(4, 16)).astype("float32")
    tensors["base_model.model.classifier.bias"] = RNG.normal(size=4).astype("float32")
    folder = folder_of(tmp_path / "a", tensors, r=3)
    model.adapters.load_peft(folder, "first", with_head=False)
    assert model.num_classes is None
    model.adapters.delete("first")
    assert model.adapters.load_peft(folder) == "a"
    assert model.num_classes == 4
    np.testing.assert_array_equal(
        np.asarray(model.head.of(None).kernel).T, tensors["base_model.model.classifier.weight"]
    )
    assert model.predict(POSITIVE, verbose=0).shape == (5, 4)
    model.adapters.delete("a")
    tensors["base_model.model.classifier.weight"] = np.ones((3, 16), "float32")
    tensors["base_model.model.classifier.bias"] = np.ones(3, "float32")
    with pytest.raises(AdapterError, match="3 classes, this model 4"):
        model.adapters.load_peft(folder_of(tmp_path / "b", tensors, r=3))
    assert len(model.adapters) == 0


def test_embedding_tables_beside_the_adapter(model, tmp_path):
    tensors = lora(queries())
    table = np.asarray(model.backbone.token_embedding.embeddings)
    tensors["base_model.model.bert.embeddings.word_embeddings.base_layer.weight"] = table
    model.adapters.load_peft(folder_of(tmp_path / "a", tensors, r=3))
    model.adapters.delete("a")
    tensors["base_model.model.bert.embeddings.word_embeddings.base_layer.weight"] = table + 1
    with pytest.raises(AdapterError, match="`full` at token_embedding"):
        model.adapters.load_peft(folder_of(tmp_path / "a", tensors, r=3))


# --- Writing ------------------------------------------------------------------------------


def randomised(adapters, name):
    for variable in adapters.variables(name).values():
        if variable.trainable:
            variable.assign(0.2 * RNG.normal(size=variable.shape))


@pytest.fixture(scope="module")
def gpt2():
    """A GPT-2 backbone of two blocks, adapted."""
    backbone = make_miniature("gpt2")
    kzoo.adapt(backbone)
    return backbone


@pytest.mark.parametrize(
    ("spec", "rank"),
    [
        ("lora[r=2,alpha=6,targets=[query,key,value]]", 6),
        ("lora[r=2,alpha=6,targets=[query,value,ffn_output]]", 4),
        ("rslora[r=2,alpha=6,targets=[query,value]]", 4),
        ("lora[r=2,targets=[value]]", 2),
        ("dora[r=2,targets=[query,key,value]]", 6),
        ("ia3[targets_out=[key,value]]", None),
        ("lora[r=2,targets=[attention_output]]|full[targets=[ffn_output]]", 2),
    ],
)
def test_one_torch_module_for_several_places(gpt2, tmp_path, spec, rank):
    inputs = miniature_inputs("gpt2")
    gpt2.adapters.add("a", spec)
    randomised(gpt2.adapters, "a")
    expected = np.asarray(gpt2(inputs))
    gpt2.adapters.save_peft("a", tmp_path / "a")
    gpt2.adapters.delete("a")
    config = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert config["fan_in_fan_out"] is True and config["task_type"] == "CAUSAL_LM"
    tensors = load_file(tmp_path / "a" / "adapter_model.safetensors")
    assert all(key.startswith("base_model.model.transformer.h.") for key in tensors)
    fused = {k: v.shape for k, v in tensors.items() if "h.0.attn.c_attn" in k}
    if rank is None:
        assert list(fused.values()) == [(48, 1)]
    elif "query" in spec or "value" in spec:
        assert [v for k, v in fused.items() if "lora_B" in k] == [(48, rank)]
    gpt2.adapters.load_peft(tmp_path / "a", "b")
    np.testing.assert_allclose(np.asarray(gpt2(inputs)), expected, atol=2e-6)
    gpt2.adapters.delete("b")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("dora[r=2,targets=[query,value]]", "an adapter of only"),
        ("vera[r=2,targets=[query,key,value]]", "an adapter of only|cannot be said"),
        ("adalora[targets=[query,key,value]]", "has one lora_a for them"),
        ("pfeiffer", "PEFT has no format for `pfeiffer`"),
        ("lora|ia3", "PEFT keeps one method"),
        ("prefix[num_virtual_tokens=2]", "`shift_positions=True`"),
        ("lora[targets=[query,key],rank_pattern={key: 3}]", "need the same options"),
    ],
)
def test_what_peft_cannot_say(gpt2, tmp_path, spec, message):
    gpt2.adapters.add("a", spec)
    try:
        randomised(gpt2.adapters, "a")
        with pytest.raises(AdapterError, match=message):
            gpt2.adapters.save_peft("a", tmp_path / "a")
        assert not (tmp_path / "a").exists()
    finally:
        gpt2.adapters.delete("a")


@pytest.mark.parametrize("spec", ["pissa[r=2]", "olora[r=2,use_rslora=true]"])
def test_changed_starts_become_plain_lora(model, tmp_path, spec):
    model.adapters.add("a", spec)
    for variable in model.adapters.variables("a").values():
        if variable.trainable:
            variable.assign(variable + 0.2 * RNG.normal(size=variable.shape))
    expected = model.predict(POSITIVE, verbose=0)
    model.adapters.save_peft("a", tmp_path / "a")
    config, tensors, _ = read_peft(tmp_path / "a", layout=layout_of_model(model))
    assert config.init == "kaiming" and config.r == 4
    assert tensors["blocks.0.query.lora_a"].shape == (16, 4)
    model.adapters.delete("a")
    model.adapters.load_peft(tmp_path / "a", "b")
    np.testing.assert_allclose(model.predict(POSITIVE, verbose=0), expected, atol=1e-5)
    model.adapters.delete("b")


def test_prompts_of_encoders(model, tmp_path):
    model.adapters.add("a", "prompt[num_virtual_tokens=2]")
    with pytest.raises(AdapterError, match="stand before the first token"):
        model.adapters.save_peft("a", tmp_path / "a")
    model.adapters.delete("a")
    model.adapters.add("a", "ptuning[num_virtual_tokens=2,position=start,bottleneck=4]")
    expected = model.predict(POSITIVE, verbose=0)
    model.adapters.save_peft("a", tmp_path / "a")
    model.adapters.delete("a")
    model.adapters.load_peft(tmp_path / "a")
    assert model.adapters.configs["a"].method == "prompt"
    np.testing.assert_allclose(model.predict(POSITIVE, verbose=0), expected, atol=1e-5)
    model.adapters.delete("a")
    assert set(load_file(tmp_path / "a" / "adapter_model.safetensors")) >= {"prompt_embeddings"}


def test_pruned_triplets(model, tmp_path):
    """AdaLoRA's files keep what was not pruned; the scaling is that of the first rank."""
    tensors = {}
    for path, r in zip(queries(), (2, 4), strict=True):
        stem = f"base_model.model.bert.{path}"
        for suffix, shape in (("lora_A", (r, 16)), ("lora_B", (16, r)), ("lora_E", (r, 1))):
            tensors[f"{stem}.{suffix}"] = RNG.normal(size=shape).astype("float32")
    folder = folder_of(
        tmp_path / "a", tensors, peft_type="ADALORA", init_r=4, target_r=3, lora_alpha=6
    )
    model.adapters.load_peft(folder)
    (_, layer), _ = model.trunk.sites.layers("a")
    a, b, e = (tensors[f"base_model.model.bert.{queries()[0]}.lora_{x}"] for x in "ABE")
    expected = (b @ (a * e)).T * 6 / (4 + 1e-5)
    np.testing.assert_allclose(np.asarray(layer.delta()), expected, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(layer.rank_mask), [1, 1, 0, 0])
    model.adapters.save_peft("a", tmp_path / "b")
    model.adapters.delete("a")
    again = read_peft(tmp_path / "b", layout=layout_of_model(model))
    assert again.config.init_r == 4 and again.tensors["blocks.0.query.lora_e"][2:].tolist() == [
        0,
        0,
    ]


def test_nothing_else_is_overwritten(model, tmp_path):
    model.adapters.add("a", "lora")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.tex").write_text("...")
    with pytest.raises(AdapterError, match="no adapter folder"):
        model.adapters.save_peft("a", tmp_path / "a")
    assert (tmp_path / "a" / "thesis.tex").exists()
    model.adapters.delete("a")
