"""What several families have in common: BERT's kin, and Llama's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kzoo.backbones.family import TRANSFORMER_BLOCK, Family, Stack
from kzoo.backbones.hf_format import Facts, HFConfig, HFNames
from kzoo.errors import WeightsError

# --- Miniatures ----------------------------------------------------------------------------

VOCABULARY = 60
MINIATURE: Mapping[str, Any] = {
    "vocabulary_size": VOCABULARY,
    "num_layers": 2,
    "hidden_dim": 16,
    "intermediate_dim": 24,
    "dropout": 0.1,
}
MINIATURE_ENCODER = {**MINIATURE, "num_heads": 2, "max_sequence_length": 20}
MINIATURE_DECODER = {**MINIATURE, "num_query_heads": 4, "num_key_value_heads": 2}

# --- BERT and those after it: norms after the residual sum, absolute positions ---------------

SEGMENTED_INPUTS = ("token_ids", "segment_ids", "padding_mask")
BERT_OUTSIDE = {
    "token_embedding": "token_embedding",
    "position_embedding": "position_embedding",
    "embeddings_norm": "embeddings_layer_norm",
    "pooler": "pooled_dense",
}
BERT_MODULES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "ffn_intermediate": "intermediate.dense",
    "ffn_output": "output.dense",
    "ffn_norm": "output.LayerNorm",
}
BERT_OUTSIDE_MODULES = {
    "token_embedding": "embeddings.word_embeddings",
    "position_embedding": "embeddings.position_embeddings",
    "segment_embedding": "embeddings.token_type_embeddings",
    "embeddings_layer_norm": "embeddings.LayerNorm",
}
BERT_ANCHOR = "embeddings.word_embeddings.weight"
BERT_BLOCKS = ("encoder.layer.{i}",)
BERT_KEYS = {
    "vocabulary_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "hidden_dim": "hidden_size",
    "intermediate_dim": "intermediate_size",
    "max_sequence_length": "max_position_embeddings",
    "dropout": "hidden_dropout_prob",
}
SEGMENTED_KEYS = {**BERT_KEYS, "num_segments": "type_vocab_size"}
BERT_DEFAULTS = {
    "hidden_dropout_prob": 0.1,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}
ABSOLUTE_POSITIONS = {"position_embedding_type": "absolute"}

# RoBERTa's kin, DistilBERT too: one layer embeds tokens and positions.
ROBERTA_OUTSIDE = {
    "token_embedding": "embeddings.token_embedding",
    "position_embedding": "embeddings.position_embedding",
    "embeddings_norm": "embeddings_layer_norm",
}
ROBERTA_OUTSIDE_MODULES = {
    "embeddings.token_embedding": "embeddings.word_embeddings",
    "embeddings.position_embedding": "embeddings.position_embeddings",
    "embeddings_layer_norm": "embeddings.LayerNorm",
}


def roberta_like(name: str, backbone: str, **own: Any) -> Family:
    """A family that is RoBERTa but for its vocabulary.

    Args:
        name: Family name.
        backbone: Class name in `keras_hub.models`.
        own: Entries of `Family` that differ.

    Returns:
        The family.
    """
    shared: dict[str, Any] = {
        "names": HFNames(
            BERT_ANCHOR,
            BERT_BLOCKS,
            (BERT_MODULES,),
            ROBERTA_OUTSIDE_MODULES,
            # Positions are counted from padding_idx + 1 = 2.
            position_offset=2,
            # Every token has type 0.
            every_position="embeddings.token_type_embeddings.weight",
        ),
        "config": HFConfig(
            BERT_KEYS,
            BERT_DEFAULTS,
            ABSOLUTE_POSITIONS,
            more=lambda facts: {"max_sequence_length": facts["max_position_embeddings"] - 2},
        ),
        "miniature": MINIATURE_ENCODER,
        "outside": ROBERTA_OUTSIDE,
        "attention_scores": True,
        "pad_tokens": ("<pad>",),
    }
    return Family(name, backbone, **{**shared, **own})


# --- Encoder-decoders ------------------------------------------------------------------------

ENCODER_DECODER_INPUTS = (
    "encoder_token_ids",
    "encoder_padding_mask",
    "decoder_token_ids",
    "decoder_padding_mask",
)


def insert(sites: Mapping[str, str], before: str, more: Mapping[str, str]) -> dict[str, str]:
    """The mapping with more entries in front of one.

    Args:
        sites: Site name -> attribute path.
        before: The site that the new ones come before.
        more: The new ones.

    Returns:
        A new mapping.
    """
    grown: dict[str, str] = {}
    for name, path in sites.items():
        if name == before:
            grown.update(more)
        grown[name] = path
    return grown


# --- Llama and those after it: RMS norms before each part, a gate, rotary positions ----------

GATED_BLOCK = insert(
    {
        **TRANSFORMER_BLOCK,
        "attention_norm": "_self_attention_layernorm",
        "ffn_norm": "_feedforward_layernorm",
        "position_embedding": "_self_attention_layer.rotary_embedding_layer",
    },
    "ffn_intermediate",
    {"ffn_gate": "_feedforward_gate_dense"},
)
LLAMA_MODULES = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "attention_output": "self_attn.o_proj",
    "attention_norm": "input_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_intermediate": "mlp.up_proj",
    "ffn_output": "mlp.down_proj",
    "ffn_norm": "post_attention_layernorm",
}
LLAMA_KEYS = {
    "vocabulary_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_query_heads": "num_attention_heads",
    "num_key_value_heads": "num_key_value_heads",
    "hidden_dim": "hidden_size",
    "intermediate_dim": "intermediate_size",
}
TIED_KEYS = {**LLAMA_KEYS, "tie_word_embeddings": "tie_word_embeddings"}


def llama_names(modules: Mapping[str, str] = LLAMA_MODULES) -> HFNames:
    """HF's names in a Llama with these modules in its blocks."""
    outside = {"token_embedding": "embed_tokens", "layer_norm": "norm"}
    return HFNames("embed_tokens.weight", ("layers.{i}",), (modules,), outside)


def llama_config(keys: Mapping[str, str], defaults: Facts | None = None, **own: Any) -> HFConfig:
    """How a Llama's `config.json` is read.

    Args:
        keys: As in `HFConfig`.
        defaults: As in `HFConfig`, beside those of all Llamas.
        own: Other entries of `HFConfig`.

    Returns:
        The rules.
    """
    usual = {"hidden_act": "silu", "rms_norm_eps": 1e-6, "tie_word_embeddings": False}
    return HFConfig(keys, {**usual, **(defaults or {})}, epsilon_key="rms_norm_eps", **own)


def llama_like(name: str, backbone: str, **own: Any) -> Family:
    """A decoder that is built as Llama is.

    Args:
        name: Family name.
        backbone: Class name in `keras_hub.models`.
        own: Other entries of `Family`, `config` among them.

    Returns:
        The family.
    """
    shared: dict[str, Any] = {
        "names": llama_names(),
        "miniature": MINIATURE_DECODER,
        "kind": "decoder",
        "stacks": (Stack(sites=GATED_BLOCK),),
        "outside": {"token_embedding": "token_embedding", "final_norm": "layer_norm"},
        "biased": (),
        "gated": True,
        "pre_norm": True,
        "activation": ("activation",),
    }
    return Family(name, backbone, **{**shared, **own})


def rope(facts: Facts) -> tuple[float, dict[str, Any]]:
    """(wavelength, scaling) of rotary positions, in the old and the new form of the file."""
    said = {**(facts.get("rope_scaling") or {}), **(facts.get("rope_parameters") or {})}
    theta = said.pop("rope_theta", facts.get("rope_theta", 10000.0))
    kind = said.pop("rope_type", said.pop("type", "default"))
    return float(theta), {} if kind == "default" else {"rope_type": kind, **said}


def unscaled_rope(facts: Facts) -> dict[str, Any]:
    """KerasHub's argument for rotary positions of a family that scales none.

    Args:
        facts: What `config.json` says.

    Returns:
        The argument.

    Raises:
        WeightsError: The file scales them.
    """
    wavelength, scaling = rope(facts)
    if scaling:
        raise unknown_rope(scaling)
    return {"rope_max_wavelength": wavelength}


def unknown_rope(scaling: Facts) -> WeightsError:
    """What to raise for rotary positions that KerasHub's class cannot do."""
    return WeightsError(
        f"`rope_type` {scaling.get('rope_type')!r} in config.json is not supported for this family."
    )
