"""Trainable parameters of prompts and prefixes: the published counts, and built layers."""

import math

import pytest
from published import BERT_BASE, LLAMA_3B

from kzoo.adapters import parse_adapter
from kzoo.backbones.dims import Dims

PUBLISHED = {
    "prompt[num_virtual_tokens=20]": 15_360,
    "prompt[num_virtual_tokens=10]": 7_680,
    "prefix[num_virtual_tokens=20]": 368_640,
    "prefix[num_virtual_tokens=30]": 552_960,
    "prefix[num_virtual_tokens=20,shift_positions=true]": 368_640,
    "prefix[num_virtual_tokens=30,projection=true]": 9_872_384,
    "prefix[num_virtual_tokens=20,projection=true,bottleneck=768]": 14_780_160,
    "ptuning[num_virtual_tokens=20]": 1_787_136,
    "ptuning[num_virtual_tokens=20,bottleneck=128]": 229_376,
    "ptuning[num_virtual_tokens=20,encoder=lstm]": 27_174_144,
    "mpt[num_virtual_tokens=20,num_tasks=3,num_ranks=2]": 15_360 + 3 * 2 * (20 + 768),
    "tokens[indices=[5,6]]": 2 * 768,
}
# PEFT's published comparison on Llama-3.2-3B.
PUBLISHED_LLAMA = {
    "prompt[num_virtual_tokens=200]": 614_400,
    "prefix[num_virtual_tokens=200]": 11_468_800,
    "ptuning[num_virtual_tokens=20]": 28_382_208,
    "tokens[indices=[5,6]]": 6_144,
}


@pytest.mark.parametrize("spec", PUBLISHED)
def test_published_counts(spec):
    assert parse_adapter(spec).count_parameters(BERT_BASE) == PUBLISHED[spec]


@pytest.mark.parametrize("spec", PUBLISHED_LLAMA)
def test_published_counts_on_llama(spec):
    assert parse_adapter(spec).count_parameters(LLAMA_3B) == PUBLISHED_LLAMA[spec]


def test_counts_are_those_of_built_layers(tiny_classifier):
    model = tiny_classifier(num_classes=2)
    dims = Dims.of(model.backbone)
    for spec in (
        *("prompt", "prompt[insertion=embeddings]", "prefix[shift_positions=true]"),
        *("prefix[projection=true,bottleneck=3,leave_out=[0]]", "ptuning[bottleneck=5]"),
        *("ptuning[encoder=lstm,bottleneck=3,lstm_layers=3]", "tokens[indices=[1,9]]"),
        "mpt[num_tasks=2,num_ranks=3]",
    ):
        model.adapters.add("a", parse_adapter(spec), activate=False)
        built = sum(math.prod(v.shape) for v in model.trunk.sites.trainable("a"))
        assert built == parse_adapter(spec).count_parameters(dims), spec
        model.adapters.delete("a")
