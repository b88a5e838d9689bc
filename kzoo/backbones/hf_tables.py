"""Names of HF's modules for every family: where a sublayer's tensors stand in a checkpoint.

Names are those behind the model's own prefix (`bert.`, `model.`, ...), found by the anchor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class HFNames:
    """Tensor names of one family.

    Args:
        anchor: A tensor that every checkpoint has; what stands before it is the prefix.
        blocks: Path of a block of each stack, with `{i}` for its number (ALBERT: `{group}` and
            `{inner}`).
        sites: For each stack: site name, or attribute path inside a block -> module. Sites with
            one module share its rows in this order (GPT-2's `c_attn`).
        outside: Attribute path on the backbone -> module or, for a bare variable, tensor.
        pooler: Module of the pooler, where HF may have one.
        position_offset: Rows of the position table before the first position.
        conv1d: Whether linear weights are (in, out), HF's `Conv1D`.
        optional: Sites and paths that a backbone lacks with some configs (T5's gate).
        first_block: As `sites`, but tensors, and only in the first block of each stack.
    """

    anchor: str
    blocks: tuple[str, ...]
    sites: tuple[Mapping[str, str], ...]
    outside: Mapping[str, str]
    pooler: str | None = None
    position_offset: int = 0
    conv1d: bool = False
    optional: tuple[str, ...] = ()
    first_block: Mapping[str, str] = field(default_factory=dict)


_BERT = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "ffn_intermediate": "intermediate.dense",
    "ffn_output": "output.dense",
    "ffn_norm": "output.LayerNorm",
}
_BERT_OUTSIDE = {
    "token_embedding": "embeddings.word_embeddings",
    "position_embedding": "embeddings.position_embeddings",
    "segment_embedding": "embeddings.token_type_embeddings",
    "embeddings_layer_norm": "embeddings.LayerNorm",
}
_ROBERTA_OUTSIDE = {
    "embeddings.token_embedding": "embeddings.word_embeddings",
    "embeddings.position_embedding": "embeddings.position_embeddings",
    "embeddings_layer_norm": "embeddings.LayerNorm",
}
_WORDS = "embeddings.word_embeddings.weight"
# RoBERTa counts positions from padding_idx + 1 = 2.
_ROBERTA = HFNames(_WORDS, ("encoder.layer.{i}",), (_BERT,), _ROBERTA_OUTSIDE, position_offset=2)
_LLAMA = {
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
_LLAMA_NAMES = HFNames(
    "embed_tokens.weight",
    ("layers.{i}",),
    (_LLAMA,),
    {"token_embedding": "embed_tokens", "layer_norm": "norm"},
)


def _t5_attention(module: str, prefix: str = "") -> dict[str, str]:
    letters = {"query": "q", "key": "k", "value": "v", "attention_output": "o"}
    return {f"{prefix}{site}": f"{module}.{letter}" for site, letter in letters.items()}


def _t5_ffn(layer: int) -> dict[str, str]:
    # By path, not by site: `wi_0` (`wi` without a gate) is where the activation is.
    return {
        "input_projector": f"layer.{layer}.DenseReluDense.wi_0",
        "gate_projector": f"layer.{layer}.DenseReluDense.wi_1",
        "output_projector": f"layer.{layer}.DenseReluDense.wo",
        "ffn_norm": f"layer.{layer}.layer_norm",
    }


_BART = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "attention_output": "self_attn.out_proj",
    "attention_norm": "self_attn_layer_norm",
    "ffn_intermediate": "fc1",
    "ffn_output": "fc2",
    "ffn_norm": "final_layer_norm",
}
_BART_CROSS = {
    "cross_query": "encoder_attn.q_proj",
    "cross_key": "encoder_attn.k_proj",
    "cross_value": "encoder_attn.v_proj",
    "cross_attention_output": "encoder_attn.out_proj",
    "cross_attention_norm": "encoder_attn_layer_norm",
}

HF_NAMES: dict[str, HFNames] = {
    "bert": HFNames(_WORDS, ("encoder.layer.{i}",), (_BERT,), _BERT_OUTSIDE, "pooler.dense"),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "distilbert": HFNames(
        _WORDS,
        ("transformer.layer.{i}",),
        (
            {
                "query": "attention.q_lin",
                "key": "attention.k_lin",
                "value": "attention.v_lin",
                "attention_output": "attention.out_lin",
                "attention_norm": "sa_layer_norm",
                "ffn_intermediate": "ffn.lin1",
                "ffn_output": "ffn.lin2",
                "ffn_norm": "output_layer_norm",
            },
        ),
        _ROBERTA_OUTSIDE,
    ),
    "albert": HFNames(
        _WORDS,
        ("encoder.albert_layer_groups.{group}.albert_layers.{inner}",),
        (
            {
                "query": "attention.query",
                "key": "attention.key",
                "value": "attention.value",
                "attention_output": "attention.dense",
                "attention_norm": "attention.LayerNorm",
                "ffn_intermediate": "ffn",
                "ffn_output": "ffn_output",
                "ffn_norm": "full_layer_layer_norm",
            },
        ),
        {**_BERT_OUTSIDE, "embeddings_projection": "encoder.embedding_hidden_mapping_in"},
        "pooler",
    ),
    "electra": HFNames(
        _WORDS,
        ("encoder.layer.{i}",),
        (_BERT,),
        {**_BERT_OUTSIDE, "embeddings_projection": "embeddings_project"},
        "pooler.dense",
        optional=("embeddings_projection",),
    ),
    "deberta-v2": HFNames(
        _WORDS,
        ("encoder.layer.{i}",),
        (
            _BERT
            | {
                "query": "attention.self.query_proj",
                "key": "attention.self.key_proj",
                "value": "attention.self.value_proj",
            },
        ),
        {
            "token_embedding": "embeddings.word_embeddings",
            "embeddings_layer_norm": "embeddings.LayerNorm",
            "relative_embeddings.rel_embeddings": "encoder.rel_embeddings.weight",
            "relative_embeddings.layer_norm": "encoder.LayerNorm",
        },
    ),
    "vit": HFNames(
        "embeddings.cls_token",
        ("encoder.layer.{i}",),
        (
            {
                "query": "attention.attention.query",
                "key": "attention.attention.key",
                "value": "attention.attention.value",
                "attention_output": "attention.output.dense",
                "attention_norm": "layernorm_before",
                "ffn_intermediate": "intermediate.dense",
                "ffn_output": "output.dense",
                "ffn_norm": "layernorm_after",
            },
        ),
        {
            "vit_patching_and_embedding.class_token": "embeddings.cls_token",
            "vit_patching_and_embedding.patch_embedding": "embeddings.patch_embeddings.projection",
            "vit_patching_and_embedding.position_embedding.embeddings": (
                "embeddings.position_embeddings"
            ),
            "vit_encoder.layer_norm": "layernorm",
        },
    ),
    "gpt2": HFNames(
        "wte.weight",
        ("h.{i}",),
        (
            {
                "query": "attn.c_attn",
                "key": "attn.c_attn",
                "value": "attn.c_attn",
                "attention_output": "attn.c_proj",
                "attention_norm": "ln_1",
                "ffn_intermediate": "mlp.c_fc",
                "ffn_output": "mlp.c_proj",
                "ffn_norm": "ln_2",
            },
        ),
        {"token_embedding": "wte", "position_embedding": "wpe", "layer_norm": "ln_f"},
        conv1d=True,
    ),
    "llama": _LLAMA_NAMES,
    "mistral": _LLAMA_NAMES,
    "qwen2": _LLAMA_NAMES,
    "gemma": _LLAMA_NAMES,
    "qwen3": HFNames(
        "embed_tokens.weight",
        ("layers.{i}",),
        (
            _LLAMA
            | {
                "_self_attention_layer._query_dense_layer_norm": "self_attn.q_norm",
                "_self_attention_layer._key_dense_layer_norm": "self_attn.k_norm",
            },
        ),
        {"token_embedding": "embed_tokens", "layer_norm": "norm"},
    ),
    "t5": HFNames(
        "shared.weight",
        ("encoder.block.{i}", "decoder.block.{i}"),
        (
            {
                **_t5_attention("layer.0.SelfAttention"),
                "attention_norm": "layer.0.layer_norm",
                **_t5_ffn(1),
            },
            {
                **_t5_attention("layer.0.SelfAttention"),
                "attention_norm": "layer.0.layer_norm",
                **_t5_attention("layer.1.EncDecAttention", "cross_"),
                "cross_attention_norm": "layer.1.layer_norm",
                **_t5_ffn(2),
            },
        ),
        {
            "token_embedding": "shared",
            "encoder_layer_norm": "encoder.final_layer_norm",
            "decoder_layer_norm": "decoder.final_layer_norm",
        },
        optional=("gate_projector",),
        first_block={
            "self_attention.relative_attention_bias": (
                "layer.0.SelfAttention.relative_attention_bias.weight"
            )
        },
    ),
    "bart": HFNames(
        "shared.weight",
        ("encoder.layers.{i}", "decoder.layers.{i}"),
        (_BART, {**_BART, **_BART_CROSS}),
        {
            "token_embedding": "shared",
            "encoder_position_embedding": "encoder.embed_positions",
            "encoder_embeddings_layer_norm": "encoder.layernorm_embedding",
            "decoder_position_embedding": "decoder.embed_positions",
            "decoder_embeddings_layer_norm": "decoder.layernorm_embedding",
        },
        position_offset=2,
    ),
}
