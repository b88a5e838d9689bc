"""`kzoo list` and `kzoo info`."""

import json

import pytest

import kzoo.zoo.catalogue as catalogue
from kzoo.backbones.source import find_source


def test_list(kzoo):
    answer = kzoo("list")
    assert answer.code == 0
    for name in catalogue.list_recipes():
        assert name in answer.out
    assert "pfeiffer[reduction_factor=16]" in answer.out
    assert "22,713,216" in answer.out


def test_list_in_a_narrow_terminal(kzoo, monkeypatch):
    """No name is cut or broken; what there is no room for is left to `kzoo info`."""
    monkeypatch.setenv("COLUMNS", "80")
    answer = kzoo("list")
    for name in catalogue.list_recipes():
        assert name in answer.out
    assert "backbone" not in answer.out and max(map(len, answer.out.splitlines())) <= 80


def test_list_as_json(kzoo):
    cards = {card["name"]: card for card in json.loads(kzoo("list", "--json").out)}
    assert sorted(cards) == catalogue.list_recipes()
    assert cards["bert-lora"]["trainable_parameters"] == 73_728
    assert cards["minilm-encoder"]["task"] == "embedding"


def test_list_of_datasets_and_methods(kzoo):
    assert "python-docs" in kzoo("list", "--datasets").out
    entries = json.loads(kzoo("list", "--datasets", "--json").out)
    assert {entry["kind"] for entry in entries} == {"corpus", "labelled"}
    methods = json.loads(kzoo("list", "--methods", "--json").out)
    lora = next(item for item in methods if item["method"] == "lora")
    assert lora["options"]["r"] == 8
    assert lora["options"]["targets"] == ["query", "value"]
    assert "rank_pattern" in kzoo("list", "--methods").out
    assert kzoo("list", "--methods", "--datasets").code == 2
    assert kzoo("list", "--methods", "--plugins").code == 2


def test_info(kzoo):
    answer = kzoo("info", "bert-adapter")
    assert answer.code == 0
    for words in ("Apache-2.0", "53aa5117", "22,826,256", "113,040", "learning_rate 0.001"):
        assert words in answer.out
    card = json.loads(kzoo("info", "bert-adapter", "--json").out)
    assert card == json.loads(json.dumps(catalogue.info("bert-adapter")))


def test_info_of_a_recipe_file_and_of_missing_weights(kzoo, toys, monkeypatch):
    answer = kzoo("info", toys.linear)
    assert answer.code == 0
    assert str(toys.folder) in answer.out.replace("\n", "").replace(" ", "")
    found = find_source("minilm-l6")
    monkeypatch.setattr(type(found), "package_folder", lambda self: None)
    answer = kzoo("info", "bert-linear")
    assert f"The weights are not installed. Run: {found.package.install}" in answer.out


@pytest.mark.parametrize("words", [["list"], ["info", "bert-lora"]])
def test_square_brackets_are_no_markup(kzoo, words):
    assert "lora[r=8,alpha=16]" in kzoo(*words).out


def test_list_of_what_is_registered(kzoo):
    found = json.loads(kzoo("list", "--plugins", "--json").out)
    kinds = {item["kind"] for item in found}
    assert {"methods", "families", "reads", "heads", "fusion", "recipe-kinds", "readers"} <= kinds
    assert {"kind": "heads", "name": "regress", "package": "kzoo"} in found
    assert {"kind": "readers", "name": ".pdf", "package": "kzoo"} in found
    shown = kzoo("list", "--plugins").out
    assert "deberta-v2" in shown and "classify" in shown


def test_list_shows_other_packages(kzoo, tmp_path, monkeypatch):
    """A package is known by its metadata alone; nothing of it is imported."""
    info = tmp_path / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kzoo.heads]\ncardinal = absent.module:Cardinal\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = json.loads(kzoo("list", "--plugins", "--json").out)
    assert {"kind": "heads", "name": "cardinal", "package": "my-package"} in found
    assert "From my-package: cardinal (heads)" in kzoo("list").out
