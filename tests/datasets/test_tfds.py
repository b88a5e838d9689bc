"""TensorFlow Datasets, with a data set that is defined and prepared here: no network."""

import sys

import numpy as np
import pytest

from kzoo.datasets import DatasetError, load

tfds = pytest.importorskip("tensorflow_datasets")


def generated(given_name, features, rows_by_split):
    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = given_name
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self,
                description="made here",
                features=tfds.features.FeaturesDict(features),
            )

        def _split_generators(self, dl_manager):
            return {name: self._rows(rows) for name, rows in rows_by_split.items()}

        def _generate_examples(self):
            yield from ()

        def _rows(self, rows):
            yield from enumerate(rows)

    return Builder


def prepare(name, folder, features, rows_by_split):
    builder = generated(name, features, rows_by_split)
    builder(data_dir=str(folder)).download_and_prepare()
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    text = tfds.features.Text()
    pairs = {
        "idx": np.int32,
        "sentence1": text,
        "sentence2": text,
        "label": tfds.features.ClassLabel(names=["no", "yes"]),
    }
    row = {"sentence1": "é", "sentence2": "b"}
    prepare(
        "made_pairs",
        folder,
        pairs,
        {
            "train": [{**row, "idx": i, "label": i % 2} for i in range(5)],
            "test": [{**row, "idx": 9, "label": -1}],
        },
    )
    prepare(
        "made_scores",
        folder,
        {"first": text, "second": text, "third": text, "stars": np.float32},
        {"train": [{"first": "a", "second": "b", "third": "c", "stars": 2.5}]},
    )
    return folder


def test_pairs_classes_and_hidden_labels(folder):
    data = load("made_pairs", data_dir=folder)
    assert data.label_names == ["no", "yes"]
    train = data["train"]
    assert sorted(zip(train.ids, train.labels.tolist(), strict=True)) == [
        (str(i), i % 2) for i in range(5)
    ]
    assert train.inputs == [("é", "b")] * 5
    assert data["test"].labels is None and len(data["test"]) == 1
    assert "hides its labels" in data.card.notes[0]
    assert data.card.description == "made here"


def test_scores_and_named_columns(folder):
    with pytest.raises(DatasetError, match=r"3 text features.*`text_column`.*'second' "):
        load("made_scores", data_dir=folder)
    data = load("made_scores", data_dir=folder, text_column="third", pair_column="first")
    assert data["train"].inputs == [("c", "a")]
    assert data["train"].labels.tolist() == [2.5] and data.label_names is None
    with pytest.raises(DatasetError, match="`label_column` 'first' is neither"):
        load("made_scores", data_dir=folder, text_column="third", label_column="first")


@pytest.mark.parametrize("download", [True, False])
def test_unknown_name_is_one_error_with_a_hint(tmp_path, download):
    with pytest.raises(DatasetError, match=r"'python-dosc'.*did you mean 'python-docs'"):
        load("python-dosc", data_dir=tmp_path, download=download)


def test_known_but_not_prepared(tmp_path):
    with pytest.raises(DatasetError, match=r"could not prepare 'glue/mrpc'.*`data_dir`"):
        load("glue/mrpc", data_dir=tmp_path, download=False)


def test_a_module_that_is_missing_is_named(folder, monkeypatch):
    def fail(*args, **kwargs):
        raise ModuleNotFoundError("No module named 'mido'", name="mido")

    read_only = type(tfds.builder("made_pairs", data_dir=str(folder)))
    monkeypatch.setattr(read_only, "download_and_prepare", fail)
    with pytest.raises(DatasetError, match=r"module 'mido'.*pip install mido"):
        load("made_pairs", data_dir=folder)


def test_options_of_files_are_refused(folder):
    with pytest.raises(DatasetError, match="`encoding` means nothing"):
        load("made_pairs", data_dir=folder, encoding="latin-1")


def test_without_the_library_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(DatasetError, match=r'pip install "kzoo\[tfds\]"'):
        load("glue/mrpc")
