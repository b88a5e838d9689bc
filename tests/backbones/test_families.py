"""The registry of families, and what each family says about itself."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from families import FAMILY_NAMES, make_tiny_backbone, tiny_inputs

import kzoo.backbones.families
from kzoo.backbones.families import FAMILIES
from kzoo.backbones.families.shared import VOCABULARY

FOLDER = Path(kzoo.backbones.families.__file__).parent

OUTSIDE_FAMILY = """
from dataclasses import replace
from kzoo.backbones.families import FAMILIES
ACME = replace(FAMILIES.get("roberta"), name="acme", backbone="AcmeBackbone")
"""


def run(script, *paths):
    """What a script prints, in a process of its own, as JSON."""
    path = [str(FOLDER.parents[2]), *map(str, paths)]
    code = f"import json, sys; sys.path[:0] = {path!r}\n{script}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_file_is_a_family():
    files = {path.stem for path in FOLDER.glob("*.py")} - {"__init__", "shared"}
    assert {name.replace("-", "_") for name in FAMILY_NAMES} == files
    for name, family in FAMILIES.items():
        assert family.name == name
        sizes = family.miniature
        assert sizes.get("vocabulary_size", sizes.get("vocab_size", VOCABULARY)) == VOCABULARY


def test_a_family_imports_its_own_file_alone():
    found = run(
        "from kzoo.backbones.dims import Dims\n"
        "dims = Dims(family='qwen3', num_layers=2, hidden_dim=8, intermediate_dim=8, num_heads=2,"
        " vocabulary_size=9)\n"
        "dims.trunk_parameters\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    prefix = "kzoo.backbones.families."
    assert {m for m in found if m.startswith(prefix)} == {f"{prefix}qwen3", f"{prefix}shared"}
    assert not {"keras", "keras_hub", "tensorflow"} & set(found)


def test_a_family_of_another_package(tmp_path):
    (tmp_path / "acme.py").write_text(OUTSIDE_FAMILY)
    about = tmp_path / "acme-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[kzoo.families]\nacme = acme:ACME\n")
    script = (
        "from kzoo.backbones.families import FAMILIES, family_of\n"
        "from kzoo.adapters.tables import FAMILIES as columns\n"
        "class AcmeBackbone: pass\n"
        "print(json.dumps([family_of(AcmeBackbone()).name, FAMILIES.origin('acme'),"
        " 'acme' in list(columns), FAMILIES.get('acme').names == FAMILIES.get('roberta').names]))"
    )
    assert run(script, tmp_path) == ["acme", "acme", True, True]


def test_tasks_are_keras_hubs():
    import keras_hub

    for name, family in FAMILIES.items():
        for task, kind in ((family.causal_lm, "decoder"), (family.seq2seq_lm, "encoder-decoder")):
            assert (task is not None) == (family.kind == kind), name
            if task is not None:
                assert getattr(keras_hub.models, task).backbone_cls is family.backbone_class


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_attention_scores(name):
    """Where the family says so, scores are there and are what the output is made of."""
    family, backbone = FAMILIES.get(name), make_tiny_backbone(name)
    places = [p for p in family.places(backbone) if p.site == "attention"]
    methods = [getattr(place.layer, place.method) for place in places]
    takes = [inspect.signature(m).parameters.keys() >= {"return_attention_scores"} for m in methods]
    if not family.attention_scores:
        assert not any(takes)
        return
    assert all(takes)
    found = {}

    def asked(place, method):
        def attend(*args, **kwargs):
            plain, _ = method(*args, **kwargs)
            call = inspect.signature(method).bind(*args, **kwargs)
            call.arguments["return_attention_scores"] = True
            output, scores = method(*call.args, **call.kwargs)
            value = call.arguments["value"]
            np.testing.assert_allclose(np.asarray(output), np.asarray(plain), atol=1e-5)
            made = np.einsum("bhqk,bkhd->bqhd", np.asarray(scores), np.asarray(value))
            np.testing.assert_allclose(np.asarray(output), made, atol=1e-5)
            found[place.key] = np.asarray(scores)
            return output, scores

        return attend

    for place, method in zip(places, methods, strict=True):
        setattr(place.layer, place.method, asked(place, method))
    inputs = tiny_inputs(name)
    backbone(inputs)
    assert list(found) == [place.key for place in places]
    for key, scores in found.items():
        np.testing.assert_allclose(scores.sum(-1), 1, atol=1e-5, err_msg=key)
        assert scores.std() > 1e-4  # not uniform
        if not isinstance(inputs, dict):
            continue
        side = "encoder" if key.startswith("encoder") or "cross" in key else "decoder"
        mask = inputs.get("padding_mask", inputs.get(f"{side}_padding_mask"))
        for row in range(len(mask)):
            assert not scores[row][..., mask[row] == 0].any(), key
            if family.kind == "decoder" or (key.startswith("decoder") and "cross" not in key):
                assert not np.triu(scores[row], 1).any(), key
