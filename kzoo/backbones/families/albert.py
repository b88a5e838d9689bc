"""ALBERT: BERT with narrow embeddings, whose blocks share their weights in groups."""

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families import shared as s
from kzoo.backbones.family import Family
from kzoo.backbones.hf_format import HFConfig, HFNames

_MODULES = {
    "query": "attention.query",
    "key": "attention.key",
    "value": "attention.value",
    "attention_output": "attention.dense",
    "attention_norm": "attention.LayerNorm",
    "ffn_intermediate": "ffn",
    "ffn_output": "ffn_output",
    "ffn_norm": "full_layer_layer_norm",
}
_DEFAULTS = {
    **s.BERT_DEFAULTS,
    "hidden_dropout_prob": 0.0,
    "hidden_act": "gelu_new",
    "embedding_size": 128,
    "num_hidden_groups": 1,
    "inner_group_num": 1,
}

FAMILIES.register(
    "albert",
    Family(
        "albert",
        "AlbertBackbone",
        names=HFNames(
            s.BERT_ANCHOR,
            ("encoder.albert_layer_groups.{group}.albert_layers.{inner}",),
            (_MODULES,),
            {
                **s.BERT_OUTSIDE_MODULES,
                "embeddings_projection": "encoder.embedding_hidden_mapping_in",
            },
            pooler="pooler",
        ),
        config=HFConfig(
            {
                **s.SEGMENTED_KEYS,
                "embedding_dim": "embedding_size",
                "num_groups": "num_hidden_groups",
                "num_inner_repetitions": "inner_group_num",
            },
            _DEFAULTS,
            s.ABSOLUTE_POSITIONS,
        ),
        miniature={**s.MINIATURE_ENCODER, "embedding_dim": 8},
        inputs=s.SEGMENTED_INPUTS,
        outside=s.BERT_OUTSIDE,
        pooler="pooled_dense",
        attention_scores=True,
        pad_tokens=("<pad>",),
        sizes=lambda backbone: {
            "distinct_blocks": backbone.num_groups * backbone.num_inner_repetitions
        },
        # From the embedding to the residual stream, even where the two are equally wide.
        extra_parameters=lambda dims: (dims.embedding_dim + 1) * dims.hidden_dim,
    ),
)
