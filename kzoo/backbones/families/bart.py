"""BART."""

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families.shared import ENCODER_DECODER_INPUTS, MINIATURE_ENCODER, insert
from kzoo.backbones.family import TRANSFORMER_BLOCK, Family, Stack
from kzoo.backbones.hf_format import HUB_BLOCK, HFClasses, HFConfig, HFNames, HubNames

_DECODER = insert(
    TRANSFORMER_BLOCK,
    "ffn_intermediate",
    {
        "cross_query": "_cross_attention_layer._query_dense",
        "cross_key": "_cross_attention_layer._key_dense",
        "cross_value": "_cross_attention_layer._value_dense",
        "cross_attention_output": "_cross_attention_layer._output_dense",
        "cross_attention_norm": "_cross_attention_layer_norm",
        "cross_attention": "_cross_attention_layer:_compute_attention",
    },
)
_MODULES = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "attention_output": "self_attn.out_proj",
    "attention_norm": "self_attn_layer_norm",
    "ffn_intermediate": "fc1",
    "ffn_output": "fc2",
    "ffn_norm": "final_layer_norm",
}
_CROSS_MODULES = {
    "cross_query": "encoder_attn.q_proj",
    "cross_key": "encoder_attn.k_proj",
    "cross_value": "encoder_attn.v_proj",
    "cross_attention_output": "encoder_attn.out_proj",
    "cross_attention_norm": "encoder_attn_layer_norm",
}
_KEYS = {
    "vocabulary_size": "vocab_size",
    "num_layers": "encoder_layers",
    "num_heads": "encoder_attention_heads",
    "hidden_dim": "d_model",
    "intermediate_dim": "encoder_ffn_dim",
    "max_sequence_length": "max_position_embeddings",
    "dropout": "dropout",
}

FAMILIES.register(
    "bart",
    Family(
        "bart",
        "BartBackbone",
        names=HFNames(
            "shared.weight",
            ("encoder.layers.{i}", "decoder.layers.{i}"),
            (_MODULES, {**_MODULES, **_CROSS_MODULES}),
            {
                "token_embedding": "shared",
                "encoder_position_embedding": "encoder.embed_positions",
                "encoder_embeddings_layer_norm": "encoder.layernorm_embedding",
                "decoder_position_embedding": "decoder.embed_positions",
                "decoder_embeddings_layer_norm": "decoder.layernorm_embedding",
            },
            position_offset=2,
        ),
        config=HFConfig(
            _KEYS,
            # The file has no epsilon; this is torch's own.
            {"dropout": 0.1, "activation_function": "gelu", "layer_norm_eps": 1e-5},
            {"scale_embedding": False, "tie_word_embeddings": True},
            equal=(
                ("encoder_layers", "decoder_layers"),
                ("encoder_attention_heads", "decoder_attention_heads"),
                ("encoder_ffn_dim", "decoder_ffn_dim"),
            ),
            activation_key="activation_function",
        ),
        miniature=MINIATURE_ENCODER,
        classes=HFClasses("model", "SEQ_2_SEQ_LM", "model"),
        hub=HubNames(
            (HUB_BLOCK, {**HUB_BLOCK, "cross_attention": "cross_attention_adapters"}),
            (
                {"attention": "self_attn"},
                {"attention": "self_attn", "cross_attention": "encoder_attn"},
            ),
        ),
        kind="encoder-decoder",
        inputs=ENCODER_DECODER_INPUTS,
        stacks=(
            Stack("encoder", "encoder_transformer_layers"),
            Stack("decoder", "decoder_transformer_layers", _DECODER),
        ),
        outside={
            "token_embedding": "token_embedding",
            "encoder.position_embedding": "encoder_position_embedding",
            "encoder.embeddings_norm": "encoder_embeddings_layer_norm",
            "decoder.position_embedding": "decoder_position_embedding",
            "decoder.embeddings_norm": "decoder_embeddings_layer_norm",
        },
        attention_scores=True,
        seq2seq_lm="BartSeq2SeqLM",
        pad_tokens=("<pad>",),
        decoder_start=("</s>",),
        tokenizer="byte-pair",
    ),
)
