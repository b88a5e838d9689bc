"""Where the sites lie inside KerasHub's Transformer blocks: site -> attribute path.

`path:method` names another method than `call`. `ffn_gate` is the projection that the activation is
applied to and `ffn_intermediate` the linear one beside it (HF's `gate_proj` and `up_proj`, T5's
`wi_0` and `wi_1`); without a gate `ffn_intermediate` carries the activation. The order is the order
of the computation, but for the norms, which stand behind their part in every family.
"""

from __future__ import annotations

# keras_hub.layers.TransformerEncoder (norms after the residual sum) and TransformerDecoder.
TRANSFORMER_ENCODER = {
    "query": "_self_attention_layer._query_dense",
    "key": "_self_attention_layer._key_dense",
    "value": "_self_attention_layer._value_dense",
    "attention_output": "_self_attention_layer._output_dense",
    "attention_norm": "_self_attention_layer_norm",
    "attention": "_self_attention_layer:_compute_attention",
    "ffn_intermediate": "_feedforward_intermediate_dense",
    "ffn_output": "_feedforward_output_dense",
    "ffn_norm": "_feedforward_layer_norm",
    "block": "",
}
_CROSS_ATTENTION = {
    "cross_query": "_cross_attention_layer._query_dense",
    "cross_key": "_cross_attention_layer._key_dense",
    "cross_value": "_cross_attention_layer._value_dense",
    "cross_attention_output": "_cross_attention_layer._output_dense",
    "cross_attention_norm": "_cross_attention_layer_norm",
    "cross_attention": "_cross_attention_layer:_compute_attention",
}


def _insert(sites: dict[str, str], before: str, more: dict[str, str]) -> dict[str, str]:
    """The mapping with more entries in front of one."""
    grown: dict[str, str] = {}
    for name, path in sites.items():
        if name == before:
            grown.update(more)
        grown[name] = path
    return grown


# TransformerDecoder in an encoder-decoder.
CROSS_DECODER = _insert(TRANSFORMER_ENCODER, "ffn_intermediate", _CROSS_ATTENTION)

# Llama, Qwen2, Qwen3, Mistral: RMS norms before each part, a gate with SiLU.
GATED_DECODER = _insert(
    TRANSFORMER_ENCODER
    | {
        "attention_norm": "_self_attention_layernorm",
        "ffn_norm": "_feedforward_layernorm",
        "position_embedding": "_self_attention_layer.rotary_embedding_layer",
    },
    "ffn_intermediate",
    {"ffn_gate": "_feedforward_gate_dense"},
)

GEMMA = {
    "query": "attention.query_dense",
    "key": "attention.key_dense",
    "value": "attention.value_dense",
    "attention_output": "attention.output_dense",
    "attention_norm": "pre_attention_norm",
    "attention": "attention:_compute_attention",
    "ffn_gate": "gating_ffw",
    "ffn_intermediate": "gating_ffw_2",
    "ffn_output": "ffw_linear",
    "ffn_norm": "pre_ffw_norm",
    "position_embedding": "attention.rope_layer",
    "block": "",
}

# T5's attention is one method: there is nothing between the projections to stand around, but the
# whole of it.
T5_ENCODER = {
    "query": "self_attention.query_projector",
    "key": "self_attention.key_projector",
    "value": "self_attention.value_projector",
    "attention_output": "self_attention.output_projector",
    "attention_norm": "self_attention_layer_norm",
    "attention": "self_attention",
    "ffn_intermediate": "input_projector",
    "ffn_output": "output_projector",
    "ffn_norm": "layer_norm",
    "block": "",
}
T5_DECODER = _insert(
    T5_ENCODER,
    "ffn_intermediate",
    {
        "cross_query": "cross_attention.query_projector",
        "cross_key": "cross_attention.key_projector",
        "cross_value": "cross_attention.value_projector",
        "cross_attention_output": "cross_attention.output_projector",
        "cross_attention_norm": "cross_attention_layer_norm",
        "cross_attention": "cross_attention",
    },
)
# The activation is in `input_projector` with and without a gate.
T5_GATED = {"ffn_gate": "input_projector", "ffn_intermediate": "gate_projector"}

VIT = {
    "query": "mha._query_dense",
    "key": "mha._key_dense",
    "value": "mha._value_dense",
    "attention_output": "mha._output_dense",
    "attention_norm": "layer_norm_1",
    "attention": "mha:_compute_attention",
    "ffn_intermediate": "mlp.dense_1",
    "ffn_output": "mlp.dense_2",
    "ffn_norm": "layer_norm_2",
    "block": "",
}
