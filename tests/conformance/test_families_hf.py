"""HF-format folders of every family give HF's hidden states: tiny random transformers models."""

import json

import numpy as np
import pytest

from kzoo.backbones.families import family_named
from kzoo.backbones.hf_format import backbone_config
from kzoo.backbones.hf_weights import assign_weights
from kzoo.backbones.loading import load_pretrained
from kzoo.errors import WeightsError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

BERT = {
    "vocab_size": 60,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_size": 16,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
    "initializer_range": 0.3,  # large enough that activations leave the linear range
}
LLAMA = {**BERT, "num_key_value_heads": 2, "pad_token_id": None}
GPT2 = {
    "vocab_size": 60,
    "n_layer": 2,
    "n_head": 4,
    "n_embd": 16,
    "n_positions": 40,
    "initializer_range": 0.3,
}
T5 = {
    "vocab_size": 60,
    "num_layers": 2,
    "num_heads": 4,
    "d_model": 16,
    "d_ff": 24,
    "d_kv": 5,
    "initializer_factor": 1.0,
}
BART = {
    "vocab_size": 60,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "d_model": 16,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 40,
    "init_std": 0.3,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
DEBERTA = {
    **BERT,
    "relative_attention": True,
    "position_buckets": 4,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": ["c2p", "p2c"],
    "position_biased_input": False,
    "type_vocab_size": 0,
    "max_position_embeddings": 12,
}

# (HF class, config, changes); "ForCausalLM" and the like save with a prefix.
CASES = {
    "gpt2": ("GPT2Model", GPT2, {}),
    "gpt2-relu-prefixed": ("GPT2LMHeadModel", GPT2, {"activation_function": "relu", "n_inner": 20}),
    "llama": ("LlamaModel", LLAMA, {"tie_word_embeddings": True, "rms_norm_eps": 1e-3}),
    "llama-untied-rope": (
        "LlamaForCausalLM",
        LLAMA,
        {"tie_word_embeddings": False, "rope_parameters": LLAMA3_ROPE},
    ),
    "qwen3": ("Qwen3ForCausalLM", {**LLAMA, "head_dim": 6}, {"tie_word_embeddings": True}),
    "qwen2": ("Qwen2Model", LLAMA, {"tie_word_embeddings": True}),
    "mistral": ("MistralForCausalLM", {**LLAMA, "head_dim": 6}, {"sliding_window": None}),
    "mistral-window": ("MistralModel", LLAMA, {"sliding_window": 3}),
    "gemma": ("GemmaModel", {**LLAMA, "head_dim": 6, "num_key_value_heads": 1}, {}),
    "t5": ("T5Model", T5, {}),
    "t5-v1.1": (
        "T5ForConditionalGeneration",
        T5,
        {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    "bart": ("BartModel", BART, {}),
    "bart-prefixed": ("BartForConditionalGeneration", BART, {"activation_function": "relu"}),
    "xlm-roberta": ("XLMRobertaModel", {**BERT, "pad_token_id": 1}, {}),
    "electra": ("ElectraModel", {**BERT, "embedding_size": 8}, {}),
    "electra-square": ("ElectraForPreTraining", {**BERT, "embedding_size": 16}, {}),
    "albert": ("AlbertModel", {**BERT, "embedding_size": 8}, {}),
    "albert-groups": (
        "AlbertForMaskedLM",
        {**BERT, "embedding_size": 8},
        {"num_hidden_layers": 4, "num_hidden_groups": 2, "inner_group_num": 2},
    ),
    "deberta-v2": ("DebertaV2Model", DEBERTA, {}),
    "vit": (
        "ViTModel",
        {k: v for k, v in BERT.items() if k not in ("vocab_size", "max_position_embeddings")},
        {"image_size": 8, "patch_size": 4},
    ),
}


def make_folder(tmp_path, case, dtype=None):
    """A tiny random HF checkpoint; returns HF's trunk with the same weights."""
    class_name, config, changes = CASES[case]
    cls = getattr(transformers, class_name)
    torch.manual_seed(0)
    model = cls(cls.config_class(**{**config, **changes}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    if dtype is not None:
        model = model.to(dtype)
    model.save_pretrained(tmp_path)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens))
    return transformers.AutoModel.from_pretrained(tmp_path, dtype=torch.float32).eval()


def batch(family, rng):
    """Our inputs, HF's, and which outputs count."""
    if family.kind == "vision":
        images = rng.normal(size=(2, 8, 8, 3)).astype("float32")
        return images, {"pixel_values": torch.tensor(images.transpose(0, 3, 1, 2))}, None
    ours, theirs = {}, {}
    masks = {}
    for side in ("encoder_", "decoder_") if family.kind == "encoder-decoder" else ("",):
        length = 7 if side == "decoder_" else 9
        ids = rng.integers(4, 60, (3, length)).astype("int32")
        mask = np.ones_like(ids)
        mask[1, length - 3 :] = 0
        ours |= {f"{side}token_ids": ids, f"{side}padding_mask": mask}
        prefix = side.removeprefix("encoder_")
        theirs |= {
            f"{prefix}input_ids": torch.tensor(ids).long(),
            f"{prefix}attention_mask": torch.tensor(mask),
        }
        masks[side] = mask
    if family.names.position_offset:  # positions follow the padding id
        for key, mask in (
            ("token_ids", masks.get("")),
            ("encoder_token_ids", masks.get("encoder_")),
        ):
            if key in ours and mask is not None:
                ours[key][mask == 0] = 1
        for name in [name for name in theirs if name.endswith("input_ids")]:
            source = "decoder_token_ids" if name.startswith("decoder") else None
            source = source or ("encoder_token_ids" if "encoder_token_ids" in ours else "token_ids")
            theirs[name] = torch.tensor(ours[source]).long()
    if "segment_ids" in family.inputs:
        segments = rng.integers(0, 2, ours["token_ids"].shape).astype("int32")
        ours["segment_ids"] = segments
        theirs["token_type_ids"] = torch.tensor(segments).long()
    return ours, theirs, masks


@pytest.mark.parametrize("case", CASES)
def test_hf_folder_gives_hf_hidden_states(case, tmp_path):
    reference = make_folder(tmp_path, case)
    config = json.loads((tmp_path / "config.json").read_text())
    trunk = load_pretrained(str(tmp_path))
    assert trunk.family.name == config["model_type"]
    ours, theirs, masks = batch(trunk.family, np.random.default_rng(0))
    with torch.no_grad():
        expected = reference(**theirs)
    found = trunk.backbone(ours)
    if trunk.family.kind == "encoder-decoder":
        pairs = [
            ("encoder_sequence_output", expected.encoder_last_hidden_state, masks["encoder_"]),
            ("decoder_sequence_output", expected.last_hidden_state, masks["decoder_"]),
        ]
        for name, value, mask in pairs:
            np.testing.assert_allclose(
                np.asarray(found[name])[mask > 0], value.numpy()[mask > 0], atol=5e-5
            )
        return
    found = np.asarray(found["sequence_output"] if isinstance(found, dict) else found)
    expected_states = expected.last_hidden_state.numpy()
    rows = slice(None) if masks is None else masks[""] > 0
    assert np.abs(expected_states[rows]).max() > 0.3
    np.testing.assert_allclose(found[rows], expected_states[rows], atol=5e-5)
    if case == "albert":
        pooled = np.asarray(trunk.backbone(ours)["pooled_output"])
        np.testing.assert_allclose(pooled, expected.pooler_output.numpy(), atol=5e-5)
        assert trunk.pooler


def test_half_precision_weights(tmp_path):
    """Llama and its kin are published in bfloat16, which numpy has not."""
    reference = make_folder(tmp_path, "llama", torch.bfloat16)
    trunk = load_pretrained(str(tmp_path))
    ours, theirs, masks = batch(trunk.family, np.random.default_rng(0))
    with torch.no_grad():
        expected = reference(**theirs).last_hidden_state.numpy()
    rows = masks[""] > 0
    np.testing.assert_allclose(np.asarray(trunk.backbone(ours))[rows], expected[rows], atol=5e-5)


@pytest.mark.parametrize("case", ["llama-untied-rope", "llama", "mistral-window", "t5-v1.1"])
def test_logits_matrix(case, tmp_path):
    make_folder(tmp_path, case)
    cls = getattr(transformers, CASES[case][0].replace("Model", "ForCausalLM"))
    head = cls.from_pretrained(tmp_path).get_output_embeddings().weight.detach().numpy()
    embedding = load_pretrained(str(tmp_path)).backbone.token_embedding
    if case == "mistral-window":  # saved without a head: what would be tied is
        head = np.asarray(embedding.embeddings)
    x = np.random.default_rng(0).normal(size=(2, 3, 16)).astype("float32")
    np.testing.assert_allclose(np.asarray(embedding(x, reverse=True)), x @ head.T, atol=1e-4)


@pytest.mark.parametrize(
    ("family", "config", "changes", "message"),
    [
        ("llama", LLAMA, {"attention_bias": True}, "`attention_bias`.*must be False"),
        ("llama", LLAMA, {"head_dim": 3}, "`head_dim`.*= 4"),
        ("llama", LLAMA, {"rope_scaling": {"type": "yarn"}}, "`rope_type` 'yarn'"),
        ("qwen3", LLAMA, {"use_sliding_window": True}, "`use_sliding_window`"),
        ("gemma", LLAMA, {"rope_theta": 5.0}, "`rope_type`"),
        ("t5", T5, {"relative_attention_num_buckets": 16}, "must be 32"),
        ("t5", T5, {"num_decoder_layers": 3}, "`num_layers` and `num_decoder_layers`"),
        ("bart", BART, {"decoder_layers": 3}, "`encoder_layers` and `decoder_layers`"),
        ("deberta-v2", DEBERTA, {"position_biased_input": True}, "`position_biased_input`"),
        ("deberta-v2", DEBERTA, {"pos_att_type": ["c2p"]}, "`pos_att_type`"),
        ("gpt2", {"vocab_size": 3}, {}, "lacks `n_layer`"),
    ],
)
def test_what_keras_hub_cannot_be_is_refused(family, config, changes, message):
    with pytest.raises(WeightsError, match=message):
        backbone_config(family_named(family), {**config, **changes})


def test_missing_tensors_are_named(tmp_path):
    from safetensors.numpy import load_file, save_file

    make_folder(tmp_path, "qwen3")
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    gone = "model.layers.1.self_attn.q_norm.weight"
    save_file({k: v for k, v in tensors.items() if k != gone}, path)
    with pytest.raises(WeightsError, match=r"no tensor `layers.1.self_attn.q_norm.weight`"):
        load_pretrained(str(tmp_path))


def test_no_variable_is_left_at_random(tmp_path):
    from dataclasses import replace

    make_folder(tmp_path, "gpt2")
    family = family_named("gpt2")
    config = json.loads((tmp_path / "config.json").read_text())
    backbone = family.backbone_class(**backbone_config(family, config))
    outside = {k: v for k, v in family.names.outside.items() if k != "layer_norm"}
    shorter = replace(family, names=replace(family.names, outside=outside))
    with pytest.raises(WeightsError, match="nothing for `layer_norm/gamma`"):
        assign_weights(backbone, shorter, tmp_path)
