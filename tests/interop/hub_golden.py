"""What AdapterHub's own library wrote and computed (tests/conformance/golden_adapterhub)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

GOLDEN = Path(__file__).parents[1] / "conformance" / "golden_adapterhub"
EXPECTED = load_file(GOLDEN / "expected.safetensors")
CASES = sorted(
    path.name
    for path in GOLDEN.iterdir()
    if (path / "adapter_config.json").is_file() and not path.name.startswith("head_")
)


def golden_backbone():
    """The BERT of the golden files."""
    from kzoo.backbones.architecture import Architecture
    from kzoo.backbones.families import FAMILIES
    from kzoo.backbones.hf_format import backbone_config
    from kzoo.backbones.hf_weights import assign_weights
    from kzoo.backbones.trunk import build

    config = json.loads((GOLDEN / "trunk" / "config.json").read_text())
    family = FAMILIES.get("bert")
    architecture = Architecture.from_hf(config, family)
    backbone = build("bert", backbone_config(family, config), architecture)
    assign_weights(backbone, family, GOLDEN / "trunk")
    return backbone, architecture


def golden_classifier(**spec):
    """A classifier on that BERT, its head on the pooler."""
    from tiny import make_model, tiny_vocabulary

    from kzoo.backbones.families import FAMILIES
    from kzoo.backbones.loading import Pretrained
    from kzoo.backbones.tokenizer import _wordpiece
    from kzoo.models.classifier import TextClassifier

    backbone, architecture = golden_backbone()
    ids = {token: i for i, token in enumerate(tiny_vocabulary()[:40])}
    tokenizer = _wordpiece(ids, True, None, True)
    trunk = Pretrained(backbone, FAMILIES.get("bert"), architecture, tokenizer, "golden")
    spec = {"recipe": "tiny", "max_tokens": 16, "head": {"pooling": "pooler"}, **spec}
    return make_model(TextClassifier, trunk, **spec)


def inputs(prompt=None):
    """The golden inputs, with the virtual tokens of a prompt in them."""
    ids = EXPECTED["input_ids"].astype("int32")
    mask = EXPECTED["attention_mask"].astype("int32")
    if prompt is not None:
        at = 0 if prompt.position == "start" else 1
        rows = np.tile(prompt.ids, (len(ids), 1))
        ids = np.concatenate([ids[:, :at], rows, ids[:, at:]], axis=1)
        mask = np.concatenate([np.ones_like(rows), mask], axis=1)
    return {"token_ids": ids, "padding_mask": mask, "segment_ids": np.zeros_like(ids)}


def hidden_states(backbone, adapters):
    """What a backbone gives with its active adapter."""
    layers = [layer for name in adapters.active for _, layer in adapters.host.sites.layers(name)]
    prompts = [layer.virtual_tokens() for layer in layers if hasattr(layer, "virtual_tokens")]
    return np.asarray(backbone(inputs(*prompts))["sequence_output"])


def keys_of(folder):
    """Keys and tensors of the weights in a folder."""
    from kzoo.interop.files import read_tensors

    return read_tensors(folder, ["adapter.safetensors", "pytorch_adapter.bin"])
