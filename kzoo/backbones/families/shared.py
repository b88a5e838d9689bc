"""What several families derive from: BERT, RoBERTa and Llama, and pieces of encoder-decoders.

A family that is one of these but for a few entries is `dataclasses.replace(BERT, ...)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kzoo.backbones.family import TRANSFORMER_BLOCK, Family, Stack
from kzoo.backbones.hf_format import (
    HUB_BLOCK,
    Facts,
    HFClasses,
    HFConfig,
    HFHead,
    HFNames,
    HubHead,
    HubNames,
    hf_decoder,
)
from kzoo.errors import WeightsError

VOCABULARY = 60  # of every miniature
MINIATURE: Mapping[str, Any] = {
    "vocabulary_size": VOCABULARY,
    "num_layers": 2,
    "hidden_dim": 16,
    "intermediate_dim": 24,
    "dropout": 0.1,
}
MINIATURE_ENCODER = {**MINIATURE, "num_heads": 2, "max_sequence_length": 20}
MINIATURE_DECODER = {**MINIATURE, "num_query_heads": 4, "num_key_value_heads": 2}

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


# Norms after the residual sum, absolute positions, segments, a pooler behind `[CLS]`.
BERT = Family(
    "bert",
    "BertBackbone",
    names=HFNames(
        "embeddings.word_embeddings.weight",
        ("encoder.layer.{i}",),
        (
            {
                "query": "attention.self.query",
                "key": "attention.self.key",
                "value": "attention.self.value",
                "attention_output": "attention.output.dense",
                "attention_norm": "attention.output.LayerNorm",
                "ffn_intermediate": "intermediate.dense",
                "ffn_output": "output.dense",
                "ffn_norm": "output.LayerNorm",
            },
        ),
        {
            "token_embedding": "embeddings.word_embeddings",
            "position_embedding": "embeddings.position_embeddings",
            "segment_embedding": "embeddings.token_type_embeddings",
            "embeddings_layer_norm": "embeddings.LayerNorm",
        },
        pooler="pooler.dense",
    ),
    config=HFConfig(
        {
            "vocabulary_size": "vocab_size",
            "num_layers": "num_hidden_layers",
            "num_heads": "num_attention_heads",
            "hidden_dim": "hidden_size",
            "intermediate_dim": "intermediate_size",
            "max_sequence_length": "max_position_embeddings",
            "dropout": "hidden_dropout_prob",
            "num_segments": "type_vocab_size",
        },
        {
            "hidden_dropout_prob": 0.1,
            "type_vocab_size": 2,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-12,
        },
        {"position_embedding_type": "absolute"},
    ),
    miniature=MINIATURE_ENCODER,
    classes=HFClasses("bert", head=HFHead("classifier", True, "pooler"), usual=True),
    hub=HubNames(
        ({"attention": "attention.output", "ffn": "output"},),
        ({"attention": "attention.self"},),
        model_class="BertAdapterModel",
        head=HubHead("BertForSequenceClassification", ("classifier",), pooler=True),
    ),
    inputs=("token_ids", "segment_ids", "padding_mask"),
    outside={
        "token_embedding": "token_embedding",
        "position_embedding": "position_embedding",
        "embeddings_norm": "embeddings_layer_norm",
        "pooler": "pooled_dense",
    },
    pooler="pooled_dense",
    attention_scores=True,
    tokenizer="wordpiece",
)

UNSEGMENTED_KEYS = {ours: hf for ours, hf in BERT.config.keys.items() if ours != "num_segments"}

_CLASSIFIER = ("classifier.dense", "classifier.out_proj")


def hub_of_two_layers(prefix: str, activation: str = "tanh") -> HubNames:
    """BERT's modules of AdapterHub, for a family whose head in HF's class has two layers.

    Args:
        prefix: What the names of its classes begin with.
        activation: Between the two.

    Returns:
        The entry.
    """
    assert BERT.hub is not None
    head = HubHead(f"{prefix}ForSequenceClassification", _CLASSIFIER, activation=activation)
    return replace(BERT.hub, model_class=f"{prefix}AdapterModel", head=head)


# No segments, no pooler; one layer embeds tokens and positions.
ROBERTA = replace(
    BERT,
    name="roberta",
    backbone="RobertaBackbone",
    names=replace(
        BERT.names,
        outside={
            "embeddings.token_embedding": "embeddings.word_embeddings",
            "embeddings.position_embedding": "embeddings.position_embeddings",
            "embeddings_layer_norm": "embeddings.LayerNorm",
        },
        pooler=None,
        position_offset=2,  # counted from padding_idx + 1
        every_position="embeddings.token_type_embeddings.weight",  # every token has type 0
    ),
    config=replace(
        BERT.config,
        keys=UNSEGMENTED_KEYS,
        more=lambda facts: {"max_sequence_length": facts["max_position_embeddings"] - 2},
    ),
    classes=HFClasses("roberta"),
    hub=hub_of_two_layers("Roberta"),
    inputs=("token_ids", "padding_mask"),
    outside={
        "token_embedding": "embeddings.token_embedding",
        "position_embedding": "embeddings.position_embedding",
        "embeddings_norm": "embeddings_layer_norm",
    },
    pooler=None,
    tokenizer="byte-pair",
    pad_tokens=("<pad>",),
)


def rope(facts: Facts) -> tuple[float, dict[str, Any]]:
    """(wavelength, scaling) of rotary positions, in the old and the new form of `config.json`."""
    said = {**(facts.get("rope_scaling") or {}), **(facts.get("rope_parameters") or {})}
    theta = said.pop("rope_theta", facts.get("rope_theta", 10000.0))
    kind = said.pop("rope_type", said.pop("type", "default"))
    return float(theta), {} if kind == "default" else {"rope_type": kind, **said}


def unknown_rope(kind: str) -> WeightsError:
    """What to raise for rotary positions that KerasHub's class cannot do."""
    return WeightsError(f"`rope_type` {kind!r} in config.json is not supported for this family.")


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
        raise unknown_rope(scaling["rope_type"])
    return {"rope_max_wavelength": wavelength}


# RMS norms before each part, a gate, rotary positions, grouped queries, no biases.
LLAMA = Family(
    "llama",
    "LlamaBackbone",
    names=HFNames(
        "embed_tokens.weight",
        ("layers.{i}",),
        (
            {
                "query": "self_attn.q_proj",
                "key": "self_attn.k_proj",
                "value": "self_attn.v_proj",
                "attention_output": "self_attn.o_proj",
                "attention_norm": "input_layernorm",
                "ffn_gate": "mlp.gate_proj",
                "ffn_intermediate": "mlp.up_proj",
                "ffn_output": "mlp.down_proj",
                "ffn_norm": "post_attention_layernorm",
            },
        ),
        {"token_embedding": "embed_tokens", "layer_norm": "norm"},
    ),
    config=HFConfig(
        {
            "vocabulary_size": "vocab_size",
            "num_layers": "num_hidden_layers",
            "num_query_heads": "num_attention_heads",
            "num_key_value_heads": "num_key_value_heads",
            "hidden_dim": "hidden_size",
            "intermediate_dim": "intermediate_size",
            "tie_word_embeddings": "tie_word_embeddings",
        },
        {"hidden_act": "silu", "rms_norm_eps": 1e-6, "tie_word_embeddings": False},
        more=unscaled_rope,
        epsilon_key="rms_norm_eps",
    ),
    miniature={**MINIATURE_DECODER, "tie_word_embeddings": True},
    classes=hf_decoder("model"),
    kind="decoder",
    stacks=(
        Stack(
            sites=insert(
                {
                    **TRANSFORMER_BLOCK,
                    "attention_norm": "_self_attention_layernorm",
                    "ffn_norm": "_feedforward_layernorm",
                    "position_embedding": "_self_attention_layer.rotary_embedding_layer",
                },
                "ffn_intermediate",
                {"ffn_gate": "_feedforward_gate_dense"},
            )
        ),
    ),
    outside={"token_embedding": "token_embedding", "final_norm": "layer_norm"},
    biased=(),
    gated=True,
    pre_norm=True,
    activation=("activation",),
    pad_tokens=("<|endoftext|>",),
)

# AdapterHub has the two projections of these the wrong way round.
LLAMA_HUB = HubNames((HUB_BLOCK,), ({"attention": "self_attn"},), "ffn_output", "ffn_intermediate")

UNTIED_KEYS = {k: v for k, v in LLAMA.config.keys.items() if k != "tie_word_embeddings"}
