"""Trainable parameters: the published counts, by arithmetic and on a built bert-base."""

import math

import pytest
from published import BERT_BASE, LLAMA_3B

from kzoo.adapters import parse_adapter
from kzoo.adapters.acting.injection import Sites
from kzoo.backbones.dims import Dims
from kzoo.backbones.families import FAMILIES

# What HF PEFT and AdapterHub report on bert-base-uncased.
PUBLISHED = {
    "pfeiffer[reduction_factor=16]": 894_528,
    "houlsby[reduction_factor=16]": 1_789_056,
    "lora[r=8]": 294_912,
    "lora[r=8,targets=all-linear]": 1_339_392,
    "dora[r=8]": 313_344,
    "adalora[init_r=12]": 442_656,
    "loha[r=8]": 589_824,
    "lokr[r=8]": 26_112,
    "vera[r=256]": 24_576,
    "ia3[targets_in=[attention_output,ffn_output]]": 64_512,  # PEFT's targets
    "ia3[pre_activation=true]": 55_296,  # AdapterHub's
    "oft[block_size=32]": 285_696,
    "ln": 38_400,
    "bitfit": 102_912,
}
# The papers' own numbers, in thousands or as percentages of the trunk.
PAPERS = {"vera[r=1024]": 43_008, "ia3": 55_296, "rslora[r=8]": 294_912, "pissa[r=8]": 294_912}

# Exact counts of PEFT's published MetaMathQA runs on Llama-3.2-3B.
PUBLISHED_LLAMA = {
    "lora[r=32]": 9_175_040,
    "rslora[r=32]": 9_175_040,
    "dora[r=32]": 9_289_728,
    "lora[r=10,targets=[ffn_gate,ffn_intermediate,ffn_output]]": 9_461_760,
    "loha[r=32]": 18_350_080,
    "lokr[r=32,decompose_factor=4]": 2_294_656,
    "adalora[init_r=64]": 18_353_664,
    "vera[r=256]": 129_024,
    "hira[r=32]": 9_175_040,
    "shira[r=32]": 9_175_040,
    "ia3": 286_720,
    "ia3[targets_out=[query,key,value,attention_output],"
    "targets_in=[ffn_gate,ffn_intermediate,ffn_output]]": 630_784,
    "oft[block_size=96]": 8_171_520,
    "ln": 175_104,
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
    sites = Sites(FAMILIES.get("bert").places(bert_base))
    sites.add("counted", config)
    built = sum(math.prod(v.shape) for v in sites.trainable("counted"))
    sites.remove("counted")
    assert config.count_parameters(BERT_BASE) == built == PUBLISHED[spec]


def test_trunk_count(bert_base):
    assert Dims.of(bert_base) == BERT_BASE
    assert BERT_BASE.trunk_parameters == bert_base.count_params() == 109_482_240


@pytest.mark.parametrize("spec", PAPERS)
def test_counts_of_papers(spec):
    assert parse_adapter(spec).count_parameters(BERT_BASE) == PAPERS[spec]


@pytest.mark.parametrize("spec", PUBLISHED_LLAMA)
def test_counts_on_llama(spec):
    assert parse_adapter(spec).count_parameters(LLAMA_3B) == PUBLISHED_LLAMA[spec]


def test_llama_has_the_published_size():
    assert LLAMA_3B.trunk_parameters == 3_212_749_824
