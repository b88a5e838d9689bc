"""Unions of methods: one name, several parts."""

import numpy as np
import pytest

from kzoo.adapters import parse_adapter
from kzoo.errors import AdapterError

SPEC = "pfeiffer[reduction_factor=4]|lora[r=2,targets=[query, ffn_output]]"


def test_string_list_and_mapping_are_the_same():
    union = parse_adapter(SPEC)
    assert [part.method for part in union.parts] == ["pfeiffer", "lora"]
    assert union == parse_adapter(SPEC.split("|"))
    assert union == parse_adapter({"method": "union", "configs": SPEC.split("|")})
    assert parse_adapter(union.model_dump(mode="json")) == union
    assert parse_adapter([union, "lora[r=1]"]).parts == (*union.parts, parse_adapter("lora[r=1]"))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("lora|", "Received: ''"),
        ("lora|lorra", "Did you mean `lora`"),
        ({"method": "union", "configs": ["lora"]}, "at least two"),
        (3, "Received: int"),
    ],
)
def test_errors(spec, said):
    with pytest.raises(AdapterError) as error:
        parse_adapter(spec)
    assert said in str(error.value)


def test_both_parts_act_and_are_saved(tiny_classifier, tmp_path):
    model = tiny_classifier(num_classes=2)
    x = model.text.encode(["good film", "bad"])
    plain = np.asarray(model(x))
    model.adapters.add("both", SPEC)
    np.testing.assert_array_equal(np.asarray(model(x)), plain)
    variables = model.adapters.variables("both")
    assert {key.split(".")[0] for key in variables} == {"0", "1"}
    trained = sum(int(np.prod(v.shape)) for v in variables.values())
    assert trained == parse_adapter(SPEC).count_parameters(_dims(model))
    rng = np.random.default_rng(0)
    for variable in variables.values():
        variable.assign(rng.normal(0, 0.3, variable.shape))
    adapted = np.asarray(model(x))
    model.adapters.save("both", tmp_path / "a")
    model.adapters.delete("both")
    np.testing.assert_array_equal(np.asarray(model(x)), plain)
    model.adapters.load(tmp_path / "a")
    np.testing.assert_array_equal(np.asarray(model(x)), adapted)


def _dims(model):
    from kzoo.backbones.dims import Dims

    return Dims.of(model.backbone)
