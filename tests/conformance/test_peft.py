"""LoRA computes what HF PEFT computes, and the HF-format folders give HF's hidden states."""

import numpy as np
import pytest

from kzoo.adapters.acting.injection import Sites
from kzoo.adapters.methods.lora import LoraConfig
from kzoo.backbones.loading import load_pretrained

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZES = {
    "vocab_size": 60,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_size": 16,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
    "initializer_range": 0.3,  # large enough that activations leave the linear range
}
DISTIL = {
    "vocab_size": 60,
    "n_layers": 2,
    "n_heads": 4,
    "dim": 16,
    "hidden_dim": 24,
    "max_position_embeddings": 40,
    "initializer_range": 0.3,
}


def make_folder(tmp_path, family, prefixed=False, **changes):
    """A tiny random HF checkpoint of one family; returns the torch model."""
    torch.manual_seed(0)
    if family == "bert":
        model = transformers.BertModel(transformers.BertConfig(**{**SIZES, **changes}))
    elif family == "roberta":
        config = transformers.RobertaConfig(**{**SIZES, "pad_token_id": 1, **changes})
        model = transformers.RobertaModel(config, add_pooling_layer=False)
    else:
        model = transformers.DistilBertModel(transformers.DistilBertConfig(**{**DISTIL, **changes}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model = model.eval()
    if prefixed:  # as a model with a head saves it; bare otherwise
        head = {
            "bert": transformers.BertForMaskedLM,
            "roberta": transformers.RobertaForMaskedLM,
            "distilbert": transformers.DistilBertForMaskedLM,
        }[family](model.config)
        setattr(head, head.base_model_prefix, model)
        head.save_pretrained(tmp_path)
    else:
        model.save_pretrained(tmp_path)
    if family == "roberta":
        names = ["<s>", "<pad>", "</s>", "<unk>", *map(chr, range(97, 123))]
        vocabulary = ", ".join(f'"{token}": {i}' for i, token in enumerate(names))
        (tmp_path / "vocab.json").write_text("{" + vocabulary + "}")
        (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    else:
        tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(chr, range(97, 123))]
        (tmp_path / "vocab.txt").write_text("\n".join(tokens))
    return model


def batch(family, pad):
    rng = np.random.default_rng(0)
    ids = rng.integers(4, 30, (3, 9)).astype("int32")
    mask = np.ones_like(ids)
    mask[1, 6:] = 0
    ids[1, 6:] = pad
    ours = {"token_ids": ids, "padding_mask": mask}
    theirs = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
    if family == "bert":
        segments = rng.integers(0, 2, ids.shape).astype("int32")
        ours["segment_ids"] = segments
        theirs["token_type_ids"] = torch.tensor(segments)
    return ours, theirs, mask


def sequence(output):
    return np.asarray(output["sequence_output"] if isinstance(output, dict) else output)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("bert", {}),
        ("bert", {"hidden_act": "gelu_new"}),
        ("bert", {"hidden_act": "relu", "layer_norm_eps": 1e-3}),
        ("bert", {"type_vocab_size": 3}),
        ("roberta", {}),
        ("roberta", {"layer_norm_eps": 1e-3}),
        ("distilbert", {}),
        ("distilbert", {"activation": "relu"}),
    ],
)
@pytest.mark.parametrize("prefixed", [True, False])
def test_hf_folder_gives_hf_hidden_states(family, changes, prefixed, tmp_path):
    reference = make_folder(tmp_path, family, prefixed, **changes)
    trunk = load_pretrained(str(tmp_path))
    ours, theirs, mask = batch(family, 1 if family == "roberta" else 0)
    with torch.no_grad():
        expected = reference(**theirs).last_hidden_state.numpy()
    found = sequence(trunk.backbone(ours))
    assert trunk.family.name == family
    np.testing.assert_allclose(found[mask > 0], expected[mask > 0], atol=2e-5)


@pytest.mark.parametrize(
    ("targets", "modules"),
    [
        (("query", "value"), ["query", "value"]),
        (("key", "attention_output"), ["key", "attention.output.dense"]),
        (("ffn_intermediate", "ffn_output"), ["intermediate.dense", r"layer.*\d\.output.dense"]),
    ],
)
def test_lora_equals_peft(targets, modules, tmp_path):
    peft = pytest.importorskip("peft")
    base = make_folder(tmp_path, "bert")
    pattern = "|".join(f"(.*{module})" for module in modules)
    if "ffn_output" in targets:
        pattern = r".*layer\.\d+\.(intermediate|output)\.dense"
    reference = peft.get_peft_model(
        base, peft.LoraConfig(r=3, lora_alpha=12, target_modules=pattern, init_lora_weights=False)
    ).eval()
    trunk = load_pretrained(str(tmp_path))
    config = LoraConfig(method="lora", r=3, alpha=12, targets=targets)
    sites = Sites(trunk.family.places(trunk.backbone))
    layers = sites.add("a", config)
    sites.activate("a")
    names = {
        "query": "attention.self.query",
        "value": "attention.self.value",
        "key": "attention.self.key",
        "attention_output": "attention.output.dense",
        "ffn_intermediate": "intermediate.dense",
        "ffn_output": "output.dense",
    }
    state = reference.state_dict()
    places = [(block, site) for block in range(2) for site in targets]
    for (block, site), layer in zip(places, layers, strict=True):
        prefix = f"base_model.model.encoder.layer.{block}.{names[site]}"
        layer.lora_a.assign(state[f"{prefix}.lora_A.default.weight"].numpy().T)
        layer.lora_b.assign(state[f"{prefix}.lora_B.default.weight"].numpy().T)
    ours, theirs, mask = batch("bert", 0)
    with torch.no_grad():
        expected = reference(**theirs).last_hidden_state.numpy()
        with reference.disable_adapter():
            plain = reference(**theirs).last_hidden_state.numpy()
    assert np.abs(expected - plain).max() > 0.1  # the adapter acts
    found = sequence(trunk.backbone(ours))
    np.testing.assert_allclose(found[mask > 0], expected[mask > 0], atol=2e-5)
    assert len(places) == sum("lora_A" in key for key in state)
