"""PEFT's numbers without PEFT: stored adapters give the stored outputs, and are written as read.

`make_golden_peft.py` made the files.
"""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny import make_model

import kzoo
from kzoo.backbones.loading import load_pretrained
from kzoo.models.classifier import TextClassifier

GOLDEN = Path(__file__).parent / "golden_peft"


@pytest.mark.filterwarnings("error::kzoo.interop.InteropWarning", "ignore:The head is not written")
@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_stored_adapters(name, tmp_path):
    folder = GOLDEN / name
    kept = load_file(folder / "outputs.st")
    inputs = {k: v for k, v in kept.items() if not k.startswith(("output.", "head."))}
    trunk = load_pretrained(str(folder))
    if name == "bert":
        head = dict(pooling="pooler")
        spec = dict(recipe="tiny", max_tokens=16, head=head, num_classes=3)
        model = make_model(TextClassifier, trunk, **spec)
    else:
        model = trunk.backbone
        kzoo.adapt(model)
    methods = sorted(path.name for path in folder.iterdir() if path.is_dir())
    assert len(methods) == {"bert": 14, "gpt2": 4}[name]
    for method in methods:
        if name == "bert":
            model.head.kernel.assign(kept["head.kernel"])
            model.head.bias.assign(kept["head.bias"])
        model.adapters.load_peft(folder / method, "a")
        feed = inputs
        if method in ("prompt", "ptuning"):
            (_, layer), *_ = model.adapters.host.sites.layers("a")
            front = np.tile(layer.virtual_tokens().ids, (3, 1)).astype("int32")
            blank = {"token_ids": front, "padding_mask": np.ones_like(front)}
            feed = {
                key: np.concatenate([blank.get(key, np.zeros_like(front)), value], 1)
                for key, value in inputs.items()
            }
        found = model(feed)
        if name == "gpt2":
            found = np.asarray(found)[inputs["padding_mask"] > 0]
        tolerance = 1e-4 if method in ("adalora", "oft") else 1e-5
        expected = kept[f"output.{method}"]
        np.testing.assert_allclose(np.asarray(found), expected, atol=tolerance, err_msg=method)
        model.adapters.save_peft("a", tmp_path / method)
        model.adapters.delete("a")
        one, other = (
            load_file(f / method / "adapter_model.safetensors") for f in (folder, tmp_path)
        )
        assert set(one) == set(other), method
        for key, value in one.items():
            np.testing.assert_allclose(other[key], value, atol=1e-7, err_msg=f"{method} {key}")
