"""Trainable parameters on bert-base, the figures that AdapterHub and the papers publish."""

import math

import pytest
from families import make_tiny_backbone
from published import BERT_BASE

from kzoo.adapters import parse_adapter
from kzoo.adapters.acting.injection import Sites
from kzoo.adapters.methods.fusion import FusionConfig
from kzoo.backbones.dims import Dims
from kzoo.backbones.families import FAMILIES

PUBLISHED = {
    "seq_bn": 894_528,
    "double_seq_bn": 1_789_056,
    "par_bn": 7_091_712,
    "scaled_par_bn": 7_091_724,
    "seq_bn_inv": 894_528 + 296_064,
    "double_seq_bn_inv": 2_085_120,
    "invertible": 296_064,
    "compacter": 57_088,
    "compacter++": 28_576,
    "loreft[suffix_positions=1]": 36_888,  # two units, as AdapterHub makes them
    "loreft": 18_444,  # one unit: 0.015 % of RoBERTa-base in the paper
    "seq_bn[use_gating=true]": 894_528 + 9_228,  # UniPELT's gates
}
TINY = {
    "par_bn[attention=true,scaling=channel,ln_before=true,ln_after=true,use_gating=true]": "bert",
    "seq_bn[reduction_factor={1: 2, default: 8}]": "bert",
    "seq_bn_inv": "albert",
    "houlsby[cross_attention=true]": "bart",
    "pfeiffer[attention=true]": "gpt2",
    "parallel[attention=true]": "llama",
    "compacter[reduction_factor=4,phm_rank=2,shared_phm_rule=false]": "bert",
    "compacter[reduction_factor=4,phm_rank=null,factorized_phm_rule=true]": "bert",
    "compacter++[reduction_factor=4,learn_phm=false,phm_bias=false]": "bert",
    "direft[r=3,suffix_positions=2,tied=true]": "vit",
}


@pytest.fixture(scope="module")
def bert_base():
    return BERT_BASE


@pytest.mark.parametrize("spec", PUBLISHED)
def test_published_counts(spec, bert_base):
    assert parse_adapter(spec).count_parameters(bert_base) == PUBLISHED[spec]


def test_fusion_does_not_depend_on_the_number_of_adapters(bert_base):
    places = bert_base.places()
    for number in (2, 5):
        config = FusionConfig.of([parse_adapter("seq_bn")] * number, places)
        assert config.count_parameters(bert_base) == 21_252_096


@pytest.mark.parametrize("spec", TINY)
def test_arithmetic_equals_what_is_built(spec):
    family = FAMILIES.get(TINY[spec])
    config = parse_adapter(spec)
    backbone = make_tiny_backbone(TINY[spec])
    sites = Sites(family.places(backbone))
    sites.add("a", config)
    built = sum(math.prod(v.shape) for v in sites.trainable("a"))
    assert built == config.count_parameters(Dims.of(backbone)) > 0
