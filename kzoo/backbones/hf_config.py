"""From an HF `config.json` to the constructor arguments of the KerasHub backbone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kzoo.backbones.family import Family
from kzoo.errors import WeightsError

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class HFConfig:
    """How a family's `config.json` is read.

    Args:
        keys: KerasHub argument -> HF key. All have to be there, or in `defaults`.
        defaults: What HF assumes where the file is silent.
        needs: HF key -> the only value that KerasHub can do, where the file says something.
        equal: Pairs of HF keys that have to be equal, for KerasHub has one argument for both.
        more: Arguments that are no plain copies.
    """

    keys: Mapping[str, str]
    defaults: Facts = field(default_factory=dict)
    needs: Facts = field(default_factory=dict)
    equal: tuple[tuple[str, str], ...] = ()
    more: Callable[[Facts], dict[str, Any]] = lambda facts: {}


def backbone_config(family: Family, hf: Facts) -> dict[str, Any]:
    """KerasHub's constructor arguments from an HF `config.json`.

    Raises:
        WeightsError: A size is missing, or the checkpoint is one that KerasHub's class cannot be.
    """
    rules = _CONFIGS[family.name]
    facts = {**rules.defaults, **{key: value for key, value in hf.items() if value is not None}}
    if missing := [key for key in rules.keys.values() if key not in facts]:
        raise WeightsError(f"config.json lacks {', '.join(f'`{key}`' for key in missing)}.")
    for key, wanted in rules.needs.items():
        if facts.get(key, wanted) != wanted:
            raise WeightsError(
                f"`{key}` in config.json must be {wanted!r}: {family.backbone} can do no other. "
                f"Received: {facts[key]!r}"
            )
    for one, other in rules.equal:
        if facts.get(other, facts[one]) != facts[one]:
            raise WeightsError(
                f"`{one}` and `{other}` in config.json must be equal for {family.backbone}. "
                f"Received: {facts[one]!r} and {facts[other]!r}"
            )
    config = {ours: facts[theirs] for ours, theirs in rules.keys.items()}
    return {**config, **rules.more(facts)}


def _rope(facts: Facts) -> tuple[float, dict[str, Any]]:
    """(wavelength, scaling) of rotary positions, in the old and the new form of the file."""
    rope = {**(facts.get("rope_scaling") or {}), **(facts.get("rope_parameters") or {})}
    theta = rope.pop("rope_theta", facts.get("rope_theta", 10000.0))
    kind = rope.pop("rope_type", rope.pop("type", "default"))
    return float(theta), {} if kind == "default" else {"rope_type": kind, **rope}


def _llama(facts: Facts) -> dict[str, Any]:
    wavelength, scaling = _rope(facts)
    config: dict[str, Any] = {"rope_max_wavelength": wavelength}
    if scaling.get("rope_type") == "llama3":
        config |= {
            "rope_frequency_adjustment_factor": scaling["factor"],
            "rope_low_freq_factor": scaling["low_freq_factor"],
            "rope_high_freq_factor": scaling["high_freq_factor"],
            "rope_pretraining_sequence_length": scaling["original_max_position_embeddings"],
        }
    elif scaling.get("rope_type") == "linear":
        config["rope_position_scaling_factor"] = scaling["factor"]
    elif scaling:
        raise _unknown_rope(scaling)
    width, heads = facts["hidden_size"], facts["num_attention_heads"]
    if facts.get("head_dim", width // heads) != width // heads:
        raise WeightsError(
            f"`head_dim` in config.json must be hidden_size / num_attention_heads = "
            f"{width // heads} for LlamaBackbone. Received: {facts['head_dim']}"
        )
    return config


def _plain_rope(facts: Facts) -> dict[str, Any]:
    wavelength, scaling = _rope(facts)
    if scaling:
        raise _unknown_rope(scaling)
    return {"rope_max_wavelength": wavelength}


def _unknown_rope(scaling: Facts) -> WeightsError:
    return WeightsError(
        f"`rope_type` {scaling.get('rope_type')!r} in config.json is not supported for this family."
    )


def _gemma(facts: Facts) -> dict[str, Any]:
    wavelength, scaling = _rope(facts)
    if scaling or wavelength != 10000.0:
        raise _unknown_rope({"rope_type": f"theta {wavelength}", **scaling})
    # KerasHub counts both halves of the gated part.
    return {"intermediate_dim": 2 * facts["intermediate_size"]}


def _deberta(facts: Facts) -> dict[str, Any]:
    kinds = facts["pos_att_type"]
    kinds = kinds.split("|") if isinstance(kinds, str) else kinds
    if sorted(kinds) != ["c2p", "p2c"]:
        raise WeightsError(
            f"`pos_att_type` in config.json must be c2p and p2c for DebertaV3Backbone. "
            f"Received: {facts['pos_att_type']!r}"
        )
    return {}


def _t5(facts: Facts) -> dict[str, Any]:
    gated = str(facts["feed_forward_proj"]).startswith("gated-")
    # T5 1.1's logits are not scaled. Its files say so by `tie_word_embeddings: false`; those that
    # transformers 5 writes say `true` and have a key of their own.
    scaled = facts["tie_word_embeddings"] and facts["scale_decoder_outputs"]
    return {"use_gated_activation": gated, "tie_embedding_weights": scaled}


def _vit(facts: Facts) -> dict[str, Any]:
    size = facts["image_size"]
    return {"image_shape": [size, size, facts["num_channels"]]}


def _positions(offset: int) -> Callable[[Facts], dict[str, Any]]:
    return lambda facts: {"max_sequence_length": facts["max_position_embeddings"] - offset}


_BERT = {
    "vocabulary_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "hidden_dim": "hidden_size",
    "intermediate_dim": "intermediate_size",
    "max_sequence_length": "max_position_embeddings",
    "dropout": "hidden_dropout_prob",
}
_SEGMENTED = {**_BERT, "num_segments": "type_vocab_size"}
_BERT_DEFAULTS = {"hidden_dropout_prob": 0.1, "type_vocab_size": 2}
_ABSOLUTE = {"position_embedding_type": "absolute"}
_ROBERTA = HFConfig(_BERT, {"hidden_dropout_prob": 0.1}, _ABSOLUTE, more=_positions(2))
_LLAMA = {
    "vocabulary_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_query_heads": "num_attention_heads",
    "num_key_value_heads": "num_key_value_heads",
    "hidden_dim": "hidden_size",
    "intermediate_dim": "intermediate_size",
}
_TIED = {"tie_word_embeddings": "tie_word_embeddings"}
_UNTIED = {"tie_word_embeddings": False}

_CONFIGS: dict[str, HFConfig] = {
    "bert": HFConfig(_SEGMENTED, _BERT_DEFAULTS, _ABSOLUTE),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "distilbert": HFConfig(
        {
            "vocabulary_size": "vocab_size",
            "num_layers": "n_layers",
            "num_heads": "n_heads",
            "hidden_dim": "dim",
            "intermediate_dim": "hidden_dim",
            "max_sequence_length": "max_position_embeddings",
            "dropout": "dropout",
        },
        {"dropout": 0.1},
    ),
    "albert": HFConfig(
        {
            **_SEGMENTED,
            "embedding_dim": "embedding_size",
            "num_groups": "num_hidden_groups",
            "num_inner_repetitions": "inner_group_num",
        },
        {
            "hidden_dropout_prob": 0.0,
            "type_vocab_size": 2,
            "embedding_size": 128,
            "num_hidden_groups": 1,
            "inner_group_num": 1,
        },
        _ABSOLUTE,
    ),
    "electra": HFConfig(
        {
            **{("vocab_size" if k == "vocabulary_size" else k): v for k, v in _SEGMENTED.items()},
            "embedding_dim": "embedding_size",
        },
        {**_BERT_DEFAULTS, "embedding_size": 128},
        _ABSOLUTE,
    ),
    "deberta-v2": HFConfig(
        {**_BERT, "bucket_size": "position_buckets"},
        {"hidden_dropout_prob": 0.1, "pos_att_type": ()},
        {
            "relative_attention": True,
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "position_biased_input": False,
            "type_vocab_size": 0,
            "conv_kernel_size": 0,
            "max_relative_positions": -1,
        },
        (("hidden_size", "embedding_size"),),
        _deberta,
    ),
    "vit": HFConfig(
        {
            "num_layers": "num_hidden_layers",
            "num_heads": "num_attention_heads",
            "hidden_dim": "hidden_size",
            "mlp_dim": "intermediate_size",
            "patch_size": "patch_size",
            "dropout_rate": "hidden_dropout_prob",
            "attention_dropout": "attention_probs_dropout_prob",
            "layer_norm_epsilon": "layer_norm_eps",
        },
        {
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "patch_size": 16,
            "image_size": 224,
            "num_channels": 3,
            "layer_norm_eps": 1e-12,
        },
        {"qkv_bias": True},
        more=_vit,
    ),
    "gpt2": HFConfig(
        {
            "vocabulary_size": "vocab_size",
            "num_layers": "n_layer",
            "num_heads": "n_head",
            "hidden_dim": "n_embd",
            "max_sequence_length": "n_positions",
            "dropout": "resid_pdrop",
        },
        {"resid_pdrop": 0.1},
        {
            "scale_attn_weights": True,
            "scale_attn_by_inverse_layer_idx": False,
            "add_cross_attention": False,
            "tie_word_embeddings": True,
        },
        more=lambda facts: {"intermediate_dim": facts.get("n_inner", 4 * facts["n_embd"])},
    ),
    "llama": HFConfig(
        {**_LLAMA, **_TIED},
        _UNTIED,
        {"attention_bias": False, "mlp_bias": False},
        more=_llama,
    ),
    "mistral": HFConfig(
        _LLAMA,
        more=lambda facts: {
            **_plain_rope(facts),
            "sliding_window": facts.get("sliding_window"),
            "head_dim": facts.get("head_dim"),
        },
    ),
    # HF's window starts at some block; KerasHub's is in all of them.
    "qwen2": HFConfig(
        {**_LLAMA, **_TIED}, _UNTIED, {"use_sliding_window": False}, more=_plain_rope
    ),
    "qwen3": HFConfig(
        {**_LLAMA, **_TIED, "head_dim": "head_dim"},
        {**_UNTIED, "head_dim": 128},
        {"attention_bias": False, "use_sliding_window": False},
        more=_plain_rope,
    ),
    "gemma": HFConfig(
        {**_LLAMA, "head_dim": "head_dim"},
        {"head_dim": 256},
        {"attention_bias": False, "tie_word_embeddings": True},
        more=_gemma,
    ),
    "t5": HFConfig(
        {
            "vocabulary_size": "vocab_size",
            "num_layers": "num_layers",
            "num_heads": "num_heads",
            "hidden_dim": "d_model",
            "intermediate_dim": "d_ff",
            "key_value_dim": "d_kv",
            "dropout": "dropout_rate",
        },
        {
            "dropout_rate": 0.1,
            "tie_word_embeddings": True,
            "scale_decoder_outputs": True,
            "feed_forward_proj": "relu",
        },
        {"relative_attention_num_buckets": 32, "relative_attention_max_distance": 128},
        (("num_layers", "num_decoder_layers"),),
        _t5,
    ),
    "bart": HFConfig(
        {
            "vocabulary_size": "vocab_size",
            "num_layers": "encoder_layers",
            "num_heads": "encoder_attention_heads",
            "hidden_dim": "d_model",
            "intermediate_dim": "encoder_ffn_dim",
            "max_sequence_length": "max_position_embeddings",
            "dropout": "dropout",
        },
        {"dropout": 0.1},
        {"scale_embedding": False, "tie_word_embeddings": True},
        equal=(
            ("encoder_layers", "decoder_layers"),
            ("encoder_attention_heads", "decoder_attention_heads"),
            ("encoder_ffn_dim", "decoder_ffn_dim"),
        ),
    ),
}
