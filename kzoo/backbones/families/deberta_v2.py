"""DeBERTa-V2 and V3, which HF calls by one name: positions are relative, inside attention."""

from dataclasses import replace
from typing import Any

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families.shared import BERT, UNSEGMENTED_KEYS
from kzoo.backbones.hf_format import Facts, HFClasses, HFConfig
from kzoo.errors import WeightsError

_MODULES = {
    **BERT.names.sites[0],
    "query": "attention.self.query_proj",
    "key": "attention.self.key_proj",
    "value": "attention.self.value_proj",
}
_NEEDS = {
    "relative_attention": True,
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "position_biased_input": False,
    "type_vocab_size": 0,
    "conv_kernel_size": 0,
    "max_relative_positions": -1,
}


def _check_kinds(facts: Facts) -> dict[str, Any]:
    kinds = facts["pos_att_type"]
    kinds = kinds.split("|") if isinstance(kinds, str) else kinds
    if sorted(kinds) != ["c2p", "p2c"]:
        raise WeightsError(
            f"`pos_att_type` in config.json must be c2p and p2c for DebertaV3Backbone. "
            f"Received: {facts['pos_att_type']!r}"
        )
    return {}


FAMILIES.register(
    "deberta-v2",
    replace(
        BERT,
        name="deberta-v2",
        backbone="DebertaV3Backbone",
        names=replace(
            BERT.names,
            sites=(_MODULES,),
            outside={
                "token_embedding": "embeddings.word_embeddings",
                "embeddings_layer_norm": "embeddings.LayerNorm",
                "relative_embeddings.rel_embeddings": "encoder.rel_embeddings.weight",
                "relative_embeddings.layer_norm": "encoder.LayerNorm",
            },
            pooler=None,
        ),
        config=HFConfig(
            {**UNSEGMENTED_KEYS, "bucket_size": "position_buckets"},
            {
                "hidden_dropout_prob": 0.1,
                "pos_att_type": (),
                "hidden_act": "gelu",
                "layer_norm_eps": 1e-7,
            },
            _NEEDS,
            equal=(("hidden_size", "embedding_size"),),
            more=_check_kinds,
        ),
        miniature={**BERT.miniature, "bucket_size": 4},
        classes=HFClasses("deberta"),
        hub=None,
        inputs=("token_ids", "padding_mask"),
        outside={"token_embedding": "token_embedding", "embeddings_norm": "embeddings_layer_norm"},
        pooler=None,
        attention_scores=False,
        tokenizer=None,
        # Its length only scales the relative buckets.
        sizes=lambda backbone: {
            "max_sequence_length": 0,
            "relative_positions": 2 * backbone.bucket_size,
        },
        # The table of relative positions, and its layer norm.
        extra_parameters=lambda dims: (dims.relative_positions + 2) * dims.hidden_dim,
    ),
)
