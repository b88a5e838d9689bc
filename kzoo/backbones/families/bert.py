"""BERT."""

from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families import shared as s
from kzoo.backbones.family import Family
from kzoo.backbones.hf_format import HFConfig, HFNames

FAMILIES.register(
    "bert",
    Family(
        "bert",
        "BertBackbone",
        names=HFNames(
            s.BERT_ANCHOR,
            s.BERT_BLOCKS,
            (s.BERT_MODULES,),
            s.BERT_OUTSIDE_MODULES,
            pooler="pooler.dense",
        ),
        config=HFConfig(s.SEGMENTED_KEYS, s.BERT_DEFAULTS, s.ABSOLUTE_POSITIONS),
        miniature=s.MINIATURE_ENCODER,
        inputs=s.SEGMENTED_INPUTS,
        outside=s.BERT_OUTSIDE,
        pooler="pooled_dense",
        attention_scores=True,
        tokenizer="wordpiece",
    ),
)
