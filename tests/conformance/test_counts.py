"""Trainable parameters on bert-base: the published counts, by arithmetic and on a built model."""

import math

import pytest

from kzoo.adapters import parse_adapter
from kzoo.adapters.injection import Sites
from kzoo.backbones.dims import Dims
from kzoo.backbones.families import FAMILIES

BERT_BASE = Dims(
    num_layers=12,
    hidden_dim=768,
    intermediate_dim=3072,
    num_heads=12,
    vocabulary_size=30522,
    max_sequence_length=512,
    num_segments=2,
    pooler=True,
)

PUBLISHED = {
    "pfeiffer[reduction_factor=16]": 894_528,
    "houlsby[reduction_factor=16]": 1_789_056,
    "lora[r=8]": 294_912,
    # All six projections of a block (PEFT's all-linear without the pooler's 2 * 8 * 768).
    "lora[r=8,targets=[query,key,value,attention_output,ffn_intermediate,ffn_output]]": 1_339_392
    - 12_288,
}


@pytest.fixture(scope="module")
def bert_base():
    import keras_hub

    return keras_hub.models.BertBackbone(
        vocabulary_size=30522,
        num_layers=12,
        num_heads=12,
        hidden_dim=768,
        intermediate_dim=3072,
        max_sequence_length=512,
    )


@pytest.mark.parametrize("spec", PUBLISHED)
def test_adapter_counts(spec, bert_base):
    config = parse_adapter(spec)
    sites = Sites(FAMILIES["bert"].places(bert_base))
    sites.add("counted", config)
    built = sum(math.prod(v.shape) for v in sites.trainable("counted"))
    sites.remove("counted")
    assert config.count_parameters(BERT_BASE) == built == PUBLISHED[spec]


def test_trunk_count(bert_base):
    assert Dims.of(bert_base) == BERT_BASE
    assert BERT_BASE.trunk_parameters == bert_base.count_params() == 109_482_240
