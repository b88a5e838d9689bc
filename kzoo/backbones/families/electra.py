"""ELECTRA's discriminator: BERT, with embeddings that may be narrow."""

from typing import Any

from kzoo.backbones.dims import Dims
from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families import shared as s
from kzoo.backbones.family import Family
from kzoo.backbones.hf_format import HFConfig, HFNames


def _renamed(arguments: dict[str, Any]) -> dict[str, Any]:
    """KerasHub calls one argument otherwise than in all other families."""
    return {("vocab_size" if k == "vocabulary_size" else k): v for k, v in arguments.items()}


def _projection(dims: Dims) -> int:
    """From the embedding to the residual stream, where the two are not equally wide."""
    if dims.embedding_dim == dims.hidden_dim:
        return 0
    return (dims.embedding_dim + 1) * dims.hidden_dim


FAMILIES.register(
    "electra",
    Family(
        "electra",
        "ElectraBackbone",
        names=HFNames(
            s.BERT_ANCHOR,
            s.BERT_BLOCKS,
            (s.BERT_MODULES,),
            {**s.BERT_OUTSIDE_MODULES, "embeddings_projection": "embeddings_project"},
            pooler="pooler.dense",
            optional=("embeddings_projection",),
        ),
        config=HFConfig(
            {**_renamed(s.SEGMENTED_KEYS), "embedding_dim": "embedding_size"},
            {**s.BERT_DEFAULTS, "embedding_size": 128},
            s.ABSOLUTE_POSITIONS,
        ),
        miniature={**_renamed(s.MINIATURE_ENCODER), "embedding_dim": 8},
        inputs=s.SEGMENTED_INPUTS,
        outside=s.BERT_OUTSIDE,
        pooler="pooled_dense",
        attention_scores=True,
        tokenizer="wordpiece",
        extra_parameters=_projection,
    ),
)
