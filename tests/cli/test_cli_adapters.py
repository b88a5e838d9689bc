"""`kzoo adapters inspect` and `kzoo adapters convert`."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file


@pytest.fixture
def peft_folder(tmp_path):
    """LoRA on query and value of two blocks, with a classifier, as PEFT writes it."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "peft"
    folder.mkdir()
    tensors = {}
    for block in range(2):
        for name in ("query", "value"):
            stem = f"base_model.model.bert.encoder.layer.{block}.attention.self.{name}"
            tensors[f"{stem}.lora_A.weight"] = rng.normal(size=(3, 16)).astype("float32")
            tensors[f"{stem}.lora_B.weight"] = rng.normal(size=(16, 3)).astype("float32")
    tensors["base_model.model.classifier.weight"] = rng.normal(size=(5, 16)).astype("float32")
    tensors["base_model.model.classifier.bias"] = np.zeros(5, "float32")
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS",
        "r": 3,
        "lora_alpha": 12,
        "target_modules": ["query", "value"],
        "base_model_name_or_path": "somebody/bert",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def test_inspect(kzoo, peft_folder):
    found = json.loads(kzoo("adapters", "inspect", peft_folder, "--json").out)
    assert (found["dialect"], found["family"], found["methods"]) == ("peft", "bert", ["lora"])
    assert found["trained_on"] == "somebody/bert" and found["head"] == 5
    assert found["parameters"] == 2 * 2 * 3 * 32
    assert found["places"] == [f"blocks.{i}.{name}" for i in (0, 1) for name in ("query", "value")]
    assert found["tensors"]["blocks.1.value.lora_a"] == [16, 3]
    assert found["config"]["alpha"] == 12
    shown = kzoo("adapters", "inspect", peft_folder).out
    assert "somebody/bert" in shown and "384" in shown and "5 classes" in shown


def test_there_and_back_with_a_model(kzoo, peft_folder, tmp_path, tiny_classifier):
    assert kzoo("adapters", "convert", peft_folder, tmp_path / "k", "--to", "kzoo").code == 0
    assert kzoo("adapters", "inspect", tmp_path / "k").code == 0
    model = tiny_classifier(head={"pooling": "pooler"})
    model.adapters.load(tmp_path / "k", "a")
    assert model.num_classes == 5
    model.adapters.save("a", tmp_path / "own")
    done = kzoo("adapters", "convert", tmp_path / "own", tmp_path / "back", "--to", "peft")
    assert done.code == 0, done.err
    one, other = (
        load_file(f / "adapter_model.safetensors") for f in (peft_folder, tmp_path / "back")
    )
    assert set(one) == set(other)
    for key, value in one.items():
        np.testing.assert_array_equal(value, other[key])
    config = json.loads((tmp_path / "back" / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA" and config["r"] == 3 and config["lora_alpha"] == 12
    assert set(config["target_modules"]) == {"query", "value"}
    assert config["modules_to_save"] == ["classifier"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "XLORA"}, "`peft_type` 'XLORA' is not supported"),
        ({"peft_type": None}, "neither kzoo's, PEFT's nor AdapterHub's"),
        ({"init_lora_weights": "pissa"}, "which are not in the file"),
        ({"init_lora_weights": "loftq"}, "`init_lora_weights` 'loftq'"),
        ({"use_qalora": True}, "`use_qalora` True"),
    ],
)
def test_refused(kzoo, peft_folder, tmp_path, change, message):
    path = peft_folder / "adapter_config.json"
    config = json.loads(path.read_text()) | change
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    done = kzoo("adapters", "convert", peft_folder, tmp_path / "k", "--to", "kzoo")
    assert done.code == 2 and message in done.err, done.err
    assert not (tmp_path / "k").exists()


def test_wrong_words(kzoo, peft_folder, tmp_path):
    assert kzoo("adapters", "inspect", tmp_path / "nothing").code == 2
    done = kzoo("adapters", "convert", peft_folder, tmp_path / "x", "--to", "peft")
    assert done.code == 2 and "already" in done.err
    done = kzoo("adapters", "convert", peft_folder, tmp_path / "x", "--to", "keras")
    assert done.code == 2 and "--to must be one of kzoo, peft, adapterhub" in done.err


def test_adapterhub_folders(kzoo, tmp_path, tiny_classifier):
    model = tiny_classifier(head={"pooling": "pooler"}, num_classes=3)
    model.adapters.add("a", "pfeiffer[reduction_factor=4]")
    for variable in model.adapters.variables("a").values():
        variable.assign(variable + 0.5)
    model.adapters.save_adapterhub("a", tmp_path / "hub")
    found = json.loads(kzoo("adapters", "inspect", tmp_path / "hub", "--json").out)
    assert found["dialect"] == "adapterhub" and found["family"] == "bert"
    done = kzoo("adapters", "convert", tmp_path / "hub", tmp_path / "k", "--to", "kzoo")
    assert done.code == 0, done.err
    model.adapters.load(tmp_path / "k", "b")
    one, other = model.adapters.variables("a"), model.adapters.variables("b")
    assert set(one) == set(other)
    for key, variable in one.items():
        np.testing.assert_allclose(np.asarray(variable), np.asarray(other[key]), atol=1e-7)
    done = kzoo("adapters", "convert", tmp_path / "hub", tmp_path / "p", "--to", "peft")
    assert done.code == 2 and "with a model only" in done.err


def test_kzoo_folders_that_peft_cannot_say(kzoo, tmp_path, tiny_classifier):
    model = tiny_classifier("pfeiffer", num_classes=3)
    model.adapters.save("default", tmp_path / "k")
    done = kzoo("adapters", "convert", tmp_path / "k", tmp_path / "p", "--to", "peft")
    assert done.code == 2 and "PEFT has no format for `pfeiffer`" in done.err
