"""Configuration strings, defaults and the errors for wrong ones."""

import pytest

from kzoo.adapters import list_methods, parse_adapter
from kzoo.adapters.methods.bottleneck import BottleneckConfig
from kzoo.adapters.methods.lora import LoraConfig
from kzoo.errors import AdapterError


def test_string_mapping_and_object_are_the_same():
    text = parse_adapter("lora[r=4, alpha=16, targets=[query, key], dropout=0.1]")
    mapping = parse_adapter(
        {"method": "lora", "r": 4, "alpha": 16, "targets": ["query", "key"], "dropout": 0.1}
    )
    assert text == mapping == parse_adapter(mapping)
    assert text == LoraConfig(method="lora", r=4, alpha=16, targets=("query", "key"), dropout=0.1)
    assert text.scaling == 4.0
    assert parse_adapter(text.model_dump(mode="json")) == text


def test_presets_of_the_bottleneck():
    pfeiffer, houlsby = parse_adapter("pfeiffer"), parse_adapter("houlsby")
    assert isinstance(pfeiffer, BottleneckConfig)
    assert (pfeiffer.sites, pfeiffer.non_linearity) == (("ffn_norm",), "relu")
    assert houlsby.sites == ("attention_output", "ffn_output")
    assert houlsby.non_linearity == "swish"
    assert {"pfeiffer", "houlsby", "bottleneck", "lora"} <= set(list_methods())


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("lorra", "Did you mean `lora`?"),
        ("lora[rank=8]", "unknown key `rank`"),
        ("lora[r=0]", "`r`"),
        ("lora[r]", "`r` in 'lora[r]' must be `option=value`"),
        ("lora[r=8", "must look like"),
        ("lora[targets=[]]", "at least one projection"),
        ("lora[targets=[query, query]]", "each once"),
        ("lora[dropout=1.0]", "`dropout`"),
        ("pfeiffer[non_linearity=gelo]", "`non_linearity`"),
        ("bottleneck[ffn=false]", "at least one of `attention` and `ffn`"),
        ("pfeiffer[leave_out=[-1]]", "block numbers"),
        ({"r": 8}, "is not known"),
    ],
)
def test_errors_name_the_key(spec, said):
    with pytest.raises(AdapterError) as error:
        parse_adapter(spec)
    assert said in str(error.value)


def test_leave_out_beyond_the_trunk(tiny_classifier):
    model = tiny_classifier(num_classes=2)
    for spec in ("lora[leave_out=[2]]", "lora[leave_out=[0,1]]"):
        with pytest.raises(AdapterError, match="`leave_out`"):
            model.adapters.add("a", spec)
    assert len(model.adapters) == 0
