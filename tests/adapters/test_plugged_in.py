"""Methods by name: one module for one name, and methods and formats of other packages."""

import json
import subprocess
import sys

import numpy as np
import pytest
from tiny import make_tiny_trunk

import kzoo
from kzoo.adapters import list_methods, parse_adapter
from kzoo.adapters.config import METHODS
from kzoo.adapters.formats import FORMATS
from kzoo.errors import AdapterError

CONFIG = """
from kzoo.adapters.config import register_method
from kzoo.adapters.targets import TargetedConfig

@register_method("shift")
@register_method("half_shift", scale=0.5)
class ShiftConfig(TargetedConfig):
    layer = "acme_layer:ShiftLayer"
    scale: float = 1.0

    def count_at(self, place):
        return place.size_out
"""
LAYER = """
import keras
from kzoo.adapters.layers.base import AdapterLayer

class ShiftLayer(AdapterLayer):
    def __init__(self, config, place, building):
        super().__init__(config, place, building.name)
        self.shift = self.add_weight((place.size_out,), "zeros", name="shift")

    def apply(self, inner, x):
        y = inner(x)
        shift = keras.ops.reshape(self.config.scale * self.shift, y.shape[2:])
        return y + keras.ops.cast(shift, y.dtype)
"""
FORMAT = """
import json, pathlib
import numpy as np
from kzoo.adapters.formats import AdapterFormat

def save(adapters, name, path, with_head=True, note=""):
    values = {k: np.asarray(v).tolist() for k, v in adapters.variables(name).items()}
    config = adapters.configs[name].model_dump(mode="json")
    pathlib.Path(path).write_text(json.dumps([config, values, note]))

def load(adapters, path, name=None, activate=True, with_head=True):
    config, values, note = json.loads(pathlib.Path(path).read_text())
    name = name or note
    adapters.add(name, config, activate=activate)
    for key, variable in adapters.variables(name).items():
        variable.assign(values[key])
    return name

FLAT = AdapterFormat(save, load)
WRONG = save
"""
POINTS = """
[kzoo.methods]
shift = acme:ShiftConfig
half_shift = acme
nothing = acme_format
[kzoo.adapter-formats]
flat = acme_format:FLAT
wrong = acme_format:WRONG
"""
IDS = {
    "token_ids": np.array([[2, 7, 9, 3]]),
    "segment_ids": np.zeros((1, 4), int),
    "padding_mask": np.ones((1, 4), int),
}


@pytest.fixture
def acme(tmp_path, monkeypatch):
    """Another package with a method in two files and a format, installed in a folder."""
    for name, text in (("acme", CONFIG), ("acme_layer", LAYER), ("acme_format", FORMAT)):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    about = tmp_path / "acme-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    for registry in (METHODS, FORMATS):
        monkeypatch.setattr(registry, "_made", dict(registry._made))
    return tmp_path


@pytest.fixture
def trunk():
    """A tiny BERT."""
    return kzoo.Trunk(make_tiny_trunk().backbone)


@pytest.mark.parametrize(
    ("spec", "modules"),
    [
        ("dora[r=2]", {"lora"}),
        ("rslora", {"lora"}),
        ("ia3", {"ia3"}),
        ("noreft", {"reft"}),
        ("compacter++", {"compacter", "bottleneck", "invertible"}),  # of which it is one
    ],
)
def test_a_name_imports_its_own_module(spec, modules):
    script = (
        "import sys, json\n"
        "from kzoo.adapters import parse_adapter\n"
        f"found = parse_adapter({spec!r})\n"
        "print(json.dumps([found.model_dump(mode='json'), sorted(sys.modules)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    config, found = json.loads(done.stdout)
    prefix = "kzoo.adapters.methods."
    assert {m.removeprefix(prefix) for m in found if m.startswith(prefix)} == modules
    assert not {"keras", "tensorflow"} & set(found)
    assert config == parse_adapter(spec).model_dump(mode="json")


def test_defaults_of_a_name():
    assert parse_adapter("dora").use_dora and not parse_adapter("lora").use_dora
    assert parse_adapter("rslora").use_rslora and parse_adapter("pissa").init == "pissa"
    assert parse_adapter("pfeiffer+inv").inv_adapter == "nice"
    assert parse_adapter("compacter++").original_ln_before
    assert len(parse_adapter("mam").parts) == 2
    assert METHODS.names() == sorted(list_methods())


def test_a_method_of_another_package(acme, trunk, tmp_path):
    before = np.asarray(trunk(IDS)["tokens"])
    trunk.adapters.add("a", "half_shift[targets=[query, attention_output]]")
    config = trunk.adapters.configs["a"]
    assert (config.method, config.scale, METHODS.origin("half_shift")) == (
        "half_shift",
        0.5,
        "acme",
    )
    assert trunk.adapters.count("a") == 2 * 2 * 16
    np.testing.assert_array_equal(np.asarray(trunk(IDS)["tokens"]), before)
    for variable in trunk.adapters.variables("a").values():
        variable.assign(variable + 1.0)
    after = np.asarray(trunk(IDS)["tokens"])
    assert np.abs(after - before).max() > 1e-3
    trunk.adapters.save("a", tmp_path / "saved")
    trunk.adapters.delete("a")
    trunk.adapters.load(tmp_path / "saved")
    np.testing.assert_array_equal(np.asarray(trunk(IDS)["tokens"]), after)
    assert {"shift", "half_shift"} <= set(METHODS.names())


def test_a_format_of_another_package(acme, trunk, tmp_path):
    trunk.adapters.add("a", "lora[r=2]")
    for variable in trunk.adapters.variables("a").values():
        variable.assign(variable + 0.1)
    acting = np.asarray(trunk(IDS)["tokens"])
    trunk.adapters.save("a", tmp_path / "a.json", format="flat", note="again")
    trunk.adapters.delete("a")
    assert trunk.adapters.load(tmp_path / "a.json", format="flat") == "again"
    np.testing.assert_array_equal(np.asarray(trunk(IDS)["tokens"]), acting)


def test_what_is_no_method_or_format(acme, trunk, tmp_path):
    with pytest.raises(
        AdapterError, match="`method` 'nothing' of acme_format must be of the class"
    ):
        parse_adapter("nothing")
    trunk.adapters.add("a", "lora[r=2]")
    with pytest.raises(AdapterError, match=r"`format` 'wrong' .* AdapterFormat, .* function"):
        trunk.adapters.save("a", tmp_path / "x", format="wrong")
    with pytest.raises(AdapterError, match=r"`format` 'adapterhob' .* `adapterhub`"):
        trunk.adapters.load(tmp_path / "x", format="adapterhob")
    with pytest.raises(AdapterError, match="no adapter `b`"):
        trunk.adapters.save("b", tmp_path / "x", format="peft")


def test_formats_by_name(trunk, tmp_path):
    assert {"kzoo", "peft", "adapterhub"} <= set(FORMATS.names())
    trunk.adapters.add("a", "lora[r=2]")
    for variable in trunk.adapters.variables("a").values():
        variable.assign(variable + 0.1)
    acting = np.asarray(trunk(IDS)["tokens"])
    for form in ("kzoo", "peft", "adapterhub"):
        trunk.adapters.save("a", tmp_path / form, format=form)
        assert trunk.adapters.load(tmp_path / form, name=form, format=form) == form
        np.testing.assert_allclose(np.asarray(trunk(IDS)["tokens"]), acting, atol=1e-6)
