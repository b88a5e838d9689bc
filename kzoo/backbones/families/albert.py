"""ALBERT: BERT with narrow embeddings, whose blocks share their weights in groups."""

from dataclasses import replace

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families.shared import BERT

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
_PROJECTION = {"embeddings_projection": "encoder.embedding_hidden_mapping_in"}
_KEYS = {
    **BERT.config.keys,
    "embedding_dim": "embedding_size",
    "num_groups": "num_hidden_groups",
    "num_inner_repetitions": "inner_group_num",
}
_DEFAULTS = {
    **BERT.config.defaults,
    "hidden_dropout_prob": 0.0,
    "hidden_act": "gelu_new",
    "embedding_size": 128,
    "num_hidden_groups": 1,
    "inner_group_num": 1,
}

FAMILIES.register(
    "albert",
    replace(
        BERT,
        name="albert",
        backbone="AlbertBackbone",
        names=replace(
            BERT.names,
            blocks=("encoder.albert_layer_groups.{group}.albert_layers.{inner}",),
            sites=(_MODULES,),
            outside={**BERT.names.outside, **_PROJECTION},
            pooler="pooler",
        ),
        config=replace(BERT.config, keys=_KEYS, defaults=_DEFAULTS),
        miniature={**BERT.miniature, "embedding_dim": 8},
        classes=None,  # PEFT's files are not known: it shares its blocks
        hub=None,
        tokenizer=None,
        pad_tokens=("<pad>",),
        sizes=lambda trunk: {"distinct_blocks": trunk.num_groups * trunk.num_inner_repetitions},
        # From the embedding to the residual stream, even where the two are equally wide.
        extra_parameters=lambda dims: (dims.embedding_dim + 1) * dims.hidden_dim,
    ),
)
